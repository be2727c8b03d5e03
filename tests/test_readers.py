"""Annotation formats: what is written is what comes back, and a bad file is one line that says what and where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from reading import read_split

from detect import masks
from detect.errors import DataError, UsageError
from detect.media.images import write_image
from detect.types import ImageRecord

HW = (40, 60)
SQUARE = [10, 5, 30, 5, 30, 20, 10, 20]  # columns 10..29, rows 5..19
BITMAP = np.zeros(HW, bool)
BITMAP[5:20, 10:30] = True
COMPRESSED = masks.to_json(masks.from_bitmap(BITMAP))
UNCOMPRESSED = {"size": [40, 60], "counts": [405, *[15, 25] * 19, 15, 1220]}
NAN = float("nan")


def assert_one_line(error: pytest.ExceptionInfo) -> None:
    assert "\n" not in str(error.value)


def bitmap_of(record: ImageRecord, i: int) -> np.ndarray:
    return masks.to_bitmap(masks.from_coco(record.masks[i], record.image_hw))


# COCO

CATEGORIES = [{"id": 90, "name": "circle"}, {"id": 7, "name": "square"}, {"id": 3, "name": "triangle"}]
IMAGES = [
    {"id": 21, "file_name": "b.png", "height": 40, "width": 60},
    {"id": 11, "file_name": "a.png", "height": 40, "width": 60},
    {"id": 31, "file_name": "more/c.png", "height": 40, "width": 60},
]


def annotation(number: int, image_id: int = 21, category_id: int = 7, **changes: Any) -> dict[str, Any]:
    """One of the square; a change to None takes the key away."""
    whole = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": [10, 5, 20, 15], "area": 300}
    whole |= {"segmentation": [SQUARE], "iscrowd": 0} | changes
    return {k: v for k, v in whole.items() if v is not None}


def content(*annotations: Any) -> dict[str, Any]:
    return {"categories": deepcopy(CATEGORIES), "images": deepcopy(IMAGES), "annotations": list(annotations)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "more/c.png"):
        write_image(folder / name, np.zeros((*HW, 3), np.uint8))
    return folder


@pytest.fixture
def read(images: Path, tmp_path: Path) -> Callable:
    """Write ``content`` as JSON and read it back with the reader of a format."""

    def read(content: Any, classes: list[str] | None = None, reader: str = "coco"):
        path = tmp_path / "truth.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_split(reader, images, path, classes)

    return read


def test_coco_gives_every_part_of_the_truth(read, images):
    names, (b, a, c) = read(content(annotation(5, category_id=3), annotation(9, 31, 90, bbox=[1.5, 2, 10.25, 8])))
    assert names.names == ("circle", "square", "triangle") and names.ids == (90, 7, 3)
    assert [r.path for r in (b, a, c)] == [images / "b.png", images / "a.png", images / "more/c.png"]
    assert (b.image_id, b.image_hw) == (21, HW)
    assert b.boxes.dtype == np.float32 and b.boxes.tolist() == [[10, 5, 30, 20]]
    assert b.labels.dtype == np.int64 and b.labels.tolist() == [3]
    assert (b.areas.tolist(), b.iscrowd.tolist(), b.annotation_ids.tolist()) == ([300], [False], [5])
    assert c.boxes.tolist() == [[1.5, 2, 11.75, 10]] and c.labels.tolist() == [1]


@pytest.mark.parametrize("segmentation", [[SQUARE], COMPRESSED, UNCOMPRESSED], ids=["polygons", "text", "counts"])
@pytest.mark.parametrize("iscrowd", [0, 1])
def test_coco_masks_of_every_kind_are_the_same_pixels(read, segmentation, iscrowd):
    _, (record, *_) = read(content(annotation(1, segmentation=segmentation, iscrowd=iscrowd)))
    np.testing.assert_array_equal(bitmap_of(record, 0), BITMAP)
    assert record.iscrowd.tolist() == [bool(iscrowd)]


def test_coco_pictures_without_objects_are_kept(read):
    _, records = read(content(annotation(1)))
    for empty in records[1:]:
        assert empty.boxes.shape == (0, 4) and empty.boxes.dtype == np.float32
        assert empty.labels.shape == (0,) and empty.labels.dtype == np.int64
        assert empty.masks == []
    with pytest.raises(DataError, match="no pictures"):
        read({**content(), "images": []})


def test_coco_classes_can_be_chosen_in_another_order(read):
    names, (record, *_) = read(
        content(annotation(1, category_id=90), annotation(2, category_id=7), annotation(3, category_id=3)),
        ["triangle", "circle"],
    )
    assert names.names == ("triangle", "circle") and names.ids == (3, 90)
    assert list(zip(record.annotation_ids.tolist(), record.labels.tolist(), strict=True)) == [(1, 2), (3, 1)]
    assert record.masks is not None and len(record.masks) == 2
    with pytest.raises(UsageError, match=r"unknown class 'cirle': did you mean circle"):
        read(content(), ["cirle"])


def test_what_is_wrong_with_other_classes_does_not_matter(read, capsys):
    others = annotation(1, category_id=3, segmentation=None), annotation(2, category_id=3, bbox=[1, 1, 0, 0])
    _, (record, *_) = read(content(*others, annotation(3)), ["square"])
    assert record.annotation_ids.tolist() == [3] and len(record.masks) == 1 and capsys.readouterr().err == ""


def test_coco_without_box_or_area_the_mask_says(read):
    _, (record, *_) = read(
        content(annotation(1, bbox=None, area=None), annotation(2, area=None, bbox=[0, 0, 30, 30], segmentation=None))
    )
    assert record.boxes.tolist() == [[10, 5, 30, 20], [0, 0, 30, 30]]
    assert record.areas.tolist() == [300, 900]


def test_coco_ids_that_a_spreadsheet_turned_into_floats_are_still_ids(read):
    _, (record, *_) = read(content(annotation(1.0, 21.0, 7.0)))
    assert record.labels.tolist() == [2] and record.annotation_ids.dtype == np.int64


def test_coco_files_may_begin_with_a_byte_order_mark(read):
    assert len(read("\ufeff" + json.dumps(content()))[1]) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bbox": [10, 5, 0, 15]}, r"boxes have no area: 1 left out \(b\.png, annotation 55: \(10, 5, 10, 20\)\)"),
        ({"bbox": [10, 5, 20, 0]}, "boxes have no area"),
        ({"bbox": [50.0, 5, 1e-6, 15]}, "boxes have no area"),
        ({"bbox": [10, NAN, 20, 15]}, r"boxes are not four finite numbers: .* bbox \[10.0, nan, 20.0, 15.0\]"),
        ({"bbox": [NAN, 5, 20, 15]}, "boxes are not four finite numbers"),
        ({"bbox": [10, 5, 1e39, 15]}, "boxes are not four finite numbers"),
        ({"bbox": [10, 5, 20]}, r"objects are not written as the format wants: .*length 4, got 3 - at `\$\.bbox`"),
        ({"bbox": [10, 5, 20, 15, 1]}, r"length 4, got 5 - at `\$\.bbox`"),
        ({"bbox": ["10", "5", "20", "15"]}, r"Expected `float`, got `str` - at `\$\.bbox\[0\]`"),
        ({"bbox": "10 5 20 15"}, "Expected `array | null`, got `str`"),
        ({"bbox": 5}, "Expected `array | null`, got `int`"),
        ({"bbox": [60, 5, 20, 15]}, r"boxes lie outside their picture: .* \(60, 5, 80, 20\)"),
        ({"bbox": [-30, 5, 30, 15]}, "boxes lie outside their picture"),
        ({"bbox": None, "segmentation": None}, "neither a box nor a mask"),
        ({"area": "big"}, r"Expected `float | null`, got `str` - at `\$\.area`"),
        ({"segmentation": [[10, 5, 30, 20]]}, "polygons have fewer than 3 points: .*: 2"),
        ({"segmentation": [[*SQUARE, 7]]}, "masks cannot be drawn"),
        ({"segmentation": SQUARE}, "masks cannot be drawn: .* each a flat list of finite numbers"),
        ({"segmentation": [[10, 5, 30, NAN, 10, 20]]}, "each a flat list of finite numbers"),
        ({"segmentation": [[10, 5, 30, 9000, 10, 20]]}, "masks cannot be drawn: .*: 9000"),
        ({"segmentation": {**COMPRESSED, "size": [60, 40]}}, r"codes are for another size of picture: .*: \(60, 40\)"),
        ({"segmentation": {**COMPRESSED, "counts": COMPRESSED["counts"][:-2]}}, "the counts of the RLE"),
        ({"segmentation": {**UNCOMPRESSED, "counts": [405, 15]}}, "the RLE counts 420 pixels"),
        ({"image_id": None}, "missing required field `image_id`"),
        ({"image_id": 99}, r"objects belong to pictures that are not listed: 1 left out .*annotation 55: image 99"),
        ({"category_id": 1}, r"objects are of classes that are not listed: .*annotation 55: category 1"),
        ({"category_id": "7"}, r"Expected `int`, got `str` - at `\$\.category_id`"),
    ],
)
def test_coco_objects_that_cannot_be_used_are_left_out_with_one_warning(read, capsys, changes, said):
    """Kept, each of these would end a training hours later: in a NaN, a traceback or a hang."""
    _, (record, *_) = read(content(annotation(1), annotation(55, **changes), annotation(3)))
    assert record.annotation_ids.tolist() == [1, 3] and len(record.masks) == 2
    (warning,) = capsys.readouterr().err.splitlines()
    assert "truth.json: " in warning and ": 1 left out (" in warning and ", annotation 55: " in warning
    assert re.search(said, warning)


def test_coco_many_bad_objects_are_still_one_warning(read, capsys):
    read(content(*(annotation(n, bbox=[1, 1, 0, 0]) for n in range(8))))
    (warning,) = capsys.readouterr().err.splitlines()
    assert "boxes have no area: 8 left out" in warning and warning.endswith("and 5 more)")


@pytest.mark.parametrize("bare", [{"segmentation": None}, {"segmentation": []}])
def test_coco_masks_are_all_or_none_and_never_given_up_in_silence(read, capsys, bare):
    _, records = read(content(annotation(1), annotation(2, **bare)))
    assert all(r.masks is None for r in records)
    (warning,) = capsys.readouterr().err.splitlines()
    assert "1 pictures have objects without a mask, so no masks are used" in warning
    _, records = read(content(annotation(1, **bare)))
    assert all(r.masks is None for r in records)
    assert capsys.readouterr().err == ""


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in content(annotation(1)).items() if k != key}


def changed(part: str, **changes: Any) -> dict[str, Any]:
    """The first entry of ``part`` changed; a change to None takes the key away."""
    whole = content(annotation(1))
    whole[part][0] = {k: v for k, v in {**whole[part][0], **changes}.items() if v is not None}
    return whole


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{'id': 1}", r"truth\.json is not JSON: .* line 1 column 2"),
        ("", r"truth\.json is not JSON"),
        ([], r"truth\.json is a list, it should be a dict with the key 'images'"),
        (without("categories"), r"truth\.json lacks the key 'categories'"),
        (without("images"), r"truth\.json lacks the key 'images'"),
        (without("annotations"), r"truth\.json lacks the key 'annotations'"),
        ({**content(), "categories": {"7": "square"}}, "'categories' is .* it should be a list"),
        ({**content(), "categories": []}, "lists no categories"),
        ({**content(), "images": None}, "'images' is 'None', it should be a list"),
        ({**content(), "annotations": {}}, "'annotations' is '{}', it should be a list"),
        ({**content(), "categories": [*CATEGORIES, CATEGORIES[0]]}, "class name given twice: circle"),
        (changed("categories", id=3), "category id given twice: 3"),
        (changed("categories", id="90"), r"categories\[0\]: Expected `int`, got `str` - at `\$\.id`"),
        (changed("categories", id=1.5), r"categories\[0\]: Expected `int`, got `float` - at `\$\.id`"),
        (changed("categories", name=None), r"categories\[0\]: Object missing required field `name`"),
    ],
)
def test_coco_a_bad_file_is_one_line_that_says_what_and_where(read, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read(bad)
    assert "truth.json" in str(error.value)
    assert_one_line(error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None}, r"images\[0\]: Object missing required field `id`"),
        ({"id": "x"}, r"images\[0\]: Expected `int`, got `str` - at `\$\.id`"),
        ({"id": [1]}, "Expected `int`, got `array`"),
        ({"id": 1 << 70}, r"images\[0\]"),
        ({"height": None}, "missing required field `height`"),
        ({"height": 0}, r"Expected `int` >= 1 - at `\$\.height`"),
        ({"width": -60}, r"Expected `int` >= 1 - at `\$\.width`"),
        ({"width": "wide"}, "Expected `int`, got `str`"),
        ({"file_name": None}, "missing required field `file_name`"),
        ({"file_name": 7}, "Expected `str`, got `int`"),
    ],
)
def test_coco_pictures_that_cannot_be_used_are_left_out_with_their_objects(read, capsys, changes, said):
    bad = content(annotation(1), annotation(2, 11))
    bad["images"][0] = {k: v for k, v in (bad["images"][0] | changes).items() if v is not None}
    _, records = read(bad)
    assert [r.image_id for r in records] == [11, 31] and len(records[0]) == 1
    (warning,) = capsys.readouterr().err.splitlines()
    assert re.search(f"pictures are not listed as the format wants: 1 left out .*{said}", warning)
    assert re.search("objects belong to pictures that are not listed: 1 left out .*annotation 1: image 21", warning)


def test_coco_a_picture_listed_twice_is_one_and_one_id_of_two_pictures_is_none(read, capsys):
    bad = content(annotation(1), annotation(2, 11))
    bad["images"] += [IMAGES[1], {**IMAGES[0], "file_name": "more/c.png"}]
    _, records = read(bad)
    assert [(r.image_id, len(r)) for r in records] == [(11, 1), (31, 0)]
    assert "pictures share their id with another: 2 left out (b.png, image 21" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "boxes", "areas", "said"),
    [
        (
            {"bbox": [30, 20, -20, -15]},
            [10, 5, 30, 20],
            300,
            r"negative width or height: 1 put in order .*\(30, 20, 10",
        ),
        ({"area": NAN}, [10, 5, 30, 20], 300, "areas are not numbers above 0: 1 computed"),
        ({"area": -1}, [10, 5, 30, 20], 300, "areas are not numbers above 0: 1 computed .*annotation 1: -1"),
        ({"segmentation": [SQUARE, [1, 2, 3, 4]]}, [10, 5, 30, 20], 300, "polygons have fewer than 3 points"),
        ({"bbox": [50, 5, 20, 15]}, [50, 5, 70, 20], 300, "reach out of their picture: 1 clipped in training"),
    ],
)
def test_what_can_be_mended_without_a_doubt_is_and_said(read, capsys, changes, boxes, areas, said):
    _, (record, *_) = read(content(annotation(1, **changes)))
    assert record.boxes.tolist() == [boxes] and record.areas.tolist() == [areas]
    np.testing.assert_array_equal(bitmap_of(record, 0), BITMAP)
    (warning,) = capsys.readouterr().err.splitlines()
    assert re.search(said, warning)


def test_an_object_with_a_bad_polygon_and_a_bad_box_is_left_out_and_each_is_said_once(read, capsys):
    both = annotation(1, bbox=[10, 5, 0, 15], segmentation=[SQUARE, [1, 2, 3, 4]])
    _, (record, *_) = read(content(both, annotation(2)))
    assert record.annotation_ids.tolist() == [2]
    said = capsys.readouterr().err
    assert said.count("boxes have no area: 1 left out") == said.count("polygons have fewer than 3 points: 1") == 1


def test_pictures_that_do_not_fit_their_annotations_are_left_out_and_said(read, images, capsys):
    write_image(images / "a.png", np.zeros((41, 60, 3), np.uint8))
    turned = Image.new("RGB", (60, 40))
    turned.getexif()[0x0112] = 6
    turned.save(images / "b.png", exif=turned.getexif())
    (images / "more" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bad = content(annotation(1), annotation(2, 11), annotation(3, 51))
    bad["images"] += [{**IMAGES[0], "id": n, "file_name": f"{n}.png"} for n in (51, 61)]
    write_image(images / "51.png", np.zeros((*HW, 3), np.uint8))
    _, records = read(bad)
    assert [(r.path.name, len(r)) for r in records] == [("51.png", 1)]
    (warning,) = capsys.readouterr().err.splitlines()
    for said in (
        "pictures have another size than annotated: 1 left out (a.png: it is 60x41 pixels, its",
        "pictures were annotated without their EXIF rotation: 1 left out (b.png: it is 40x60 pixels",
        "files cannot be read as pictures: 1 left out (more/c.png: ",
        "pictures are annotated, but not there: 1 left out (61.png)",
    ):
        assert said in warning


@pytest.mark.parametrize("reader", ["coco", "via"])
def test_missing_pictures_are_counted_and_the_first_named(read, images, reader):
    names = [f"{n}.png" for n in range(7)] + ["a.png"]
    if reader == "coco":
        bad = content()
        bad["images"] = [{"id": n, "file_name": name, "height": 40, "width": 60} for n, name in enumerate(names)]
    else:
        bad = {name: {"filename": name, "regions": {}} for name in names}
    with pytest.raises(DataError, match=r"truth\.json names 7 of 8 images that are not there: ") as error:
        read(bad, ["square"] if reader == "via" else None, reader)
    assert str(error.value).endswith("and 2 more") and str(images / "4.png") in str(error.value)
    assert_one_line(error)


@pytest.mark.parametrize("reader", ["coco", "via"])
def test_a_missing_or_unreadable_file_is_named(images, tmp_path, reader):
    with pytest.raises(DataError, match=r"no such annotation file: .*none\.json"):
        read_split(reader, images, tmp_path / "none.json", ["square"])
    with pytest.raises(DataError, match=r"cannot read .*images: Is a directory"):
        read_split(reader, images, images, ["square"])
    (tmp_path / "binary.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(DataError, match=r"binary\.json is not JSON"):
        read_split(reader, images, tmp_path / "binary.json", ["square"])
