"""Photographs that EXIF turns: the boxes tell whether the image as shown or the stored pixels were annotated."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.coco_files import annotation, content
from helpers.reading import read_problems
from PIL import Image

STORED_WH, UPRIGHT_HW = (400, 300), (400, 300)  # stored 400 wide and 300 high; shown 300 wide and 400 high
UPRIGHT_ONLY, STORED_ONLY, EITHER = [30, 320, 100, 60], [320, 30, 60, 100], [30, 30, 100, 60]  # xywh


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with the photographs 1.jpg to 3.jpg, which EXIF turns clockwise, and 4.jpg, which is upright."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(1, 5):
        exif = Image.Exif()
        exif[0x0112] = 6 if number < 4 else 1
        Image.new("RGB", STORED_WH, (number * 40, 90, 20)).save(folder / f"{number}.jpg", exif=exif)
    return folder


def boxes(*xywh: list[int] | None, size: bool = True) -> dict:
    """Return a file with one box in each image, 1.jpg first; None is an image without objects."""
    sizes = {"width": STORED_WH[0], "height": STORED_WH[1]} if size else {}
    common = {"category_id": 7, "segmentation": None, "area": None}
    return content(*(annotation(i, i, bbox=box, **common) for i, box in enumerate(xywh, 1) if box is not None)) | {
        "images": [{"id": i, "file_name": f"{i}.jpg", **sizes} for i in range(1, len(xywh) + 1)]
    }


def xywh(records) -> list[list[float]]:
    """Return the first box of each image, xywh."""
    return [[x, y, right - x, lower - y] for x, y, right, lower in (r.boxes[0].tolist() for r in records if len(r))]


def kinds(images: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, location in read_problems("coco", images, images.parent / "ground truth.json"):
        found.setdefault(kind, []).append(location.partition(":")[0])
    return found


TURNED = [170, 320, 100, 60]  # STORED_ONLY rotated clockwise: x = 300 - (30 + 100), y = 320
TURNED_EITHER = [210, 30, 60, 100]


@pytest.mark.parametrize(
    ("written", "right", "found"),
    [
        ([UPRIGHT_ONLY], [UPRIGHT_ONLY], {"exif_size_ignored": ["1.jpg"]}),
        ([STORED_ONLY], [TURNED], {"exif_rotation_ignored": ["1.jpg"]}),
        ([EITHER], [EITHER], {"exif_rotation_unclear": ["1.jpg"]}),
        ([[30, 250, 100, 51]], [[30, 250, 100, 51]], {"exif_rotation_unclear": ["1.jpg"]}),  # 1 px beyond, rounded
        ([[30, 250, 100, 53]], [[30, 250, 100, 53]], {"exif_size_ignored": ["1.jpg"]}),
        ([UPRIGHT_ONLY, EITHER], [UPRIGHT_ONLY, EITHER], {"exif_size_ignored": ["1.jpg", "2.jpg"]}),
        ([STORED_ONLY, EITHER], [TURNED, TURNED_EITHER], {"exif_rotation_ignored": ["1.jpg", "2.jpg"]}),
        (
            [STORED_ONLY, EITHER, UPRIGHT_ONLY],
            [TURNED, EITHER, UPRIGHT_ONLY],
            {"exif_rotation_ignored": ["1.jpg"], "exif_size_ignored": ["2.jpg", "3.jpg"]},
        ),
        ([None, STORED_ONLY], [TURNED], {"exif_rotation_ignored": ["2.jpg"], "exif_size_ignored": ["1.jpg"]}),
    ],
)
def test_the_boxes_decide_how_a_turned_photograph_was_annotated(read, images, written, right, found):
    _, records = read(boxes(*written))
    assert {record.image_hw for record in records} == {UPRIGHT_HW}
    assert xywh(records) == right
    assert kinds(images) == found


def test_upright_photographs_are_read_as_they_are(read, images):
    _, records = read(boxes(UPRIGHT_ONLY, EITHER, EITHER, [320, 30, 60, 100]))
    assert records[3].image_hw == STORED_WH[::-1] and xywh(records)[3] == [320, 30, 60, 100]
    assert kinds(images) == {"exif_size_ignored": ["1.jpg", "2.jpg", "3.jpg"]}


def test_without_a_stated_size_only_boxes_that_do_not_fit_are_turned(read, images):
    _, records = read(boxes(EITHER, UPRIGHT_ONLY, size=False))
    assert xywh(records) == [EITHER, UPRIGHT_ONLY] and kinds(images) == {}
    _, records = read(boxes(STORED_ONLY, size=False))
    assert xywh(records) == [TURNED] and kinds(images) == {"exif_rotation_ignored": ["1.jpg"]}


def test_masks_turn_with_their_boxes(read, images):
    polygon = [320, 30, 380, 30, 380, 130, 320, 130]
    whole = boxes(STORED_ONLY)
    whole["annotations"][0] |= {"segmentation": [polygon], "bbox": None}
    _, (record,) = read(whole)
    assert record.boxes.tolist() == [[170, 320, 270, 380]] and record.areas.tolist() == [6000]


@pytest.mark.parametrize(("size", "kind"), [([300, 400], "exif_rotation_ignored"), ([400, 300], "exif_size_ignored")])
def test_the_size_of_a_run_length_encoding_decides(read, images, size, kind):
    whole = boxes(EITHER)
    whole["annotations"][0] |= {
        "segmentation": {"size": size, "counts": [0, 50, size[0] * size[1] - 50]},
        "bbox": None,
    }
    _, (record,) = read(whole)
    assert len(record) == 1 and list(kinds(images)) == [kind]
