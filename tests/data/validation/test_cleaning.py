"""Validation when a dataset is read: what is skipped or corrected, with one warning per annotation file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.coco_files import COMPRESSED, IMAGES, NAN, SQUARE, UNCOMPRESSED, annotation, content
from helpers.reading import spec_of
from helpers.via_files import BITMAP, HW, bitmap_of
from PIL import Image

from detect.data.spec import DatasetSpec
from detect.errors import DataError
from detect.media.images import write_image


@pytest.fixture
def write(images: Path) -> Callable[[dict], DatasetSpec]:
    """Return a function that writes a file beside ``images`` and returns a dataset of it."""

    def write(content: dict) -> DatasetSpec:
        path = images.parent / "ground truth.json"
        path.write_text(json.dumps(content))
        return spec_of("coco", images, path)

    return write


def test_problems_of_unselected_classes_are_not_reported(read, capsys):
    others = annotation(1, category_id=3, segmentation=None), annotation(2, category_id=3, bbox=[1, 1, 0, 0])
    _, (record, *_) = read(content(*others, annotation(3)), ["square"])
    assert record.annotation_ids.tolist() == [3] and len(record.masks) == 1 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bbox": [10, 5, 0, 15]}, r"zero-area boxes: 1 skipped \(b\.png, annotation 55: \(10, 5, 10, 20\)\)"),
        ({"bbox": [10, 5, 20, 0]}, "zero-area boxes"),
        ({"bbox": [50.0, 5, 1e-6, 15]}, "zero-area boxes"),
        ({"bbox": [10, NAN, 20, 15]}, r"boxes that are not four finite numbers: .* bbox \[10.0, nan, 20.0, 15.0\]"),
        ({"bbox": [NAN, 5, 20, 15]}, "boxes that are not four finite numbers"),
        ({"bbox": [10, 5, 1e39, 15]}, "boxes that are not four finite numbers"),
        ({"bbox": [10, 5, 20]}, r"objects that violate the annotation format: .*length 4, got 3 - at `\$\.bbox`"),
        ({"bbox": [10, 5, 20, 15, 1]}, r"bbox has 5 numbers, \[10, 5, 20, 15, 1\]: a rotated box"),
        ({"bbox": ["10", "5", "20", "x"]}, r"Expected `float`, got `str` - at `\$\.bbox\[3\]`"),
        ({"bbox": "10 5 20 15"}, "Expected `array | null`, got `str`"),
        ({"bbox": 5}, "Expected `array | null`, got `int`"),
        ({"bbox": [60, 5, 20, 15]}, r"boxes outside their image: .* \(60, 5, 80, 20\)"),
        ({"bbox": [-30, 5, 30, 15]}, "boxes outside their image"),
        ({"bbox": None, "segmentation": None}, "neither a box nor a mask"),
        ({"area": "big"}, r"Expected `float | null`, got `str` - at `\$\.area`"),
        ({"segmentation": [[10, 5, 30, 20]], "bbox": None}, "polygons with fewer than 3 points: .*: 2"),
        ({"segmentation": [[*SQUARE, 7]], "bbox": None}, "invalid masks"),
        ({"segmentation": [[SQUARE, SQUARE]]}, "invalid masks: .* each a flat list of finite numbers"),
        ({"segmentation": [[10, 5, 30, NAN, 10, 20]]}, "each a flat list of finite numbers"),
        ({"segmentation": [[10, 5, 30, 9000, 10, 20]]}, "invalid masks: .*: 9000"),
        ({"segmentation": {**COMPRESSED, "size": [60, 40]}}, r"RLE masks of another image size: .*: \(60, 40\)"),
        ({"segmentation": {**COMPRESSED, "counts": COMPRESSED["counts"][:-2]}}, "the counts of the RLE"),
        ({"segmentation": {**UNCOMPRESSED, "counts": [405, 15]}}, "the RLE counts 420 pixels"),
        ({"image_id": None}, "missing required field `image_id`"),
        ({"image_id": 99}, r"objects of unlisted images: 1 skipped .*annotation 55: image 99"),
        ({"category_id": 1}, r"objects of unlisted classes: .*annotation 55: category 1"),
        ({"category_id": "1"}, r"objects of unlisted classes: .*annotation 55: category 1"),
        ({"category_id": [7]}, r"Expected `int | str`, got `array` - at `\$\.category_id`"),
    ],
)
def test_invalid_coco_objects_are_skipped_with_one_warning(read, capsys, changes, said):
    """Each of these would otherwise end a training hours later: in a NaN, a traceback or a hang."""
    _, (record, *_) = read(content(annotation(1), annotation(55, **changes), annotation(3)))
    assert record.annotation_ids.tolist() == [1, 3] and len(record.masks) == 2
    (warning,) = capsys.readouterr().err.splitlines()
    assert "ground truth.json: " in warning and ": 1 skipped (" in warning and ", annotation 55: " in warning
    assert re.search(said, warning)


def test_many_invalid_objects_give_one_warning(read, capsys):
    good = (annotation(n) for n in range(8, 17))
    read(content(*(annotation(n, bbox=[1, 1, 0, 5]) for n in range(8)), *good))
    (warning,) = capsys.readouterr().err.splitlines()
    assert "zero-area boxes: 8 skipped" in warning and warning.endswith("and 5 more)")


@pytest.mark.parametrize("bare", [{"segmentation": None}, {"segmentation": []}])
def test_masks_are_used_for_all_objects_or_none_with_a_warning(read, capsys, bare):
    _, records = read(content(annotation(1), annotation(2, **bare)))
    assert all(r.masks is None for r in records)
    (warning,) = capsys.readouterr().err.splitlines()
    assert "1 image has objects without a mask, so no masks are used" in warning
    _, records = read(content(annotation(1, **bare)))
    assert all(r.masks is None for r in records)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "boxes", "areas", "said"),
    [
        (
            {"bbox": [30, 20, -20, -15]},
            [10, 5, 30, 20],
            300,
            r"negative width or height: 1 coordinates ordered .*\(30, 20, 10",
        ),
        ({"area": NAN}, [10, 5, 30, 20], 300, "areas that are not positive numbers: 1 computed"),
        ({"area": -1}, [10, 5, 30, 20], 300, "areas that are not positive numbers: 1 computed .*annotation 1: -1"),
        ({"segmentation": [SQUARE, [1, 2, 3, 4]]}, [10, 5, 30, 20], 300, "polygons with fewer than 3 points"),
        (
            {"bbox": [50, 5, 20, 15]},
            [50, 5, 70, 20],
            300,
            r"beyond their image: 1 kept \(training clips them\)",
        ),
    ],
)
def test_correctable_objects_are_corrected_with_a_warning(read, capsys, changes, boxes, areas, said):
    _, (record, *_) = read(content(annotation(1, **changes)))
    assert record.boxes.tolist() == [boxes] and record.areas.tolist() == [areas]
    np.testing.assert_array_equal(bitmap_of(record, 0), BITMAP)
    (warning,) = capsys.readouterr().err.splitlines()
    assert re.search(said, warning)


@pytest.mark.parametrize(("invalid", "stops"), [(2, False), (3, True)])
def test_a_split_with_more_invalid_than_valid_objects_is_an_error(write, invalid, stops):
    spec = write(
        content(*(annotation(n) for n in (1, 2)), *(annotation(n, bbox=[1, 1, 0, 5]) for n in range(3, 3 + invalid)))
    )
    if stops:
        with pytest.raises(DataError, match="3 of 5 objects are invalid: zero-area boxes"):
            spec.read("train")
    else:
        assert len(spec.read("train")[1].labels) == 2


@pytest.mark.parametrize(("missing", "stops"), [(3, False), (4, True)])
def test_a_split_with_more_missing_than_existing_images_is_an_error(write, missing, stops):
    listed = content(annotation(1))
    listed["images"] += [{**IMAGES[0], "id": 100 + n, "file_name": f"absent{n}.png"} for n in range(missing)]
    if stops:
        with pytest.raises(DataError, match=r"split 'train': 4 of its 7 images are missing: .*absent0\.png"):
            write(listed).read("train")
    else:
        assert len(write(listed).read("train")[1]) == 3


def test_a_note_is_said_once_for_all_splits_and_a_problem_once_for_each(write, capsys):
    spec = write(content(annotation(1, keypoints=[10, 5, 2]), annotation(2), annotation(3, bbox=[1, 1, 0, 5])))
    train = spec.root / spec.splits["train"]["annotations"]
    spec.splits["val"] = spec.splits["train"] | {"annotations": shutil.copy(train, train.with_name("val.json"))}
    for split in ("train", "val", "train"):
        spec.read(split)
    said = capsys.readouterr().err
    assert said.count("objects with keypoints") == 1 and said.count("zero-area boxes") == 2


def test_object_with_two_problems_is_skipped_and_both_are_reported(read, capsys):
    both = annotation(1, bbox=[10, 5, 0, 15], segmentation=[SQUARE, [1, 2, 3, 4]])
    _, (record, *_) = read(content(both, annotation(2)))
    assert record.annotation_ids.tolist() == [2]
    said = capsys.readouterr().err
    assert said.count("zero-area boxes: 1 skipped") == said.count("polygons with fewer than 3 points: 1") == 1


def test_images_that_do_not_match_their_annotations_are_skipped_with_a_warning_per_kind(read, images, capsys):
    write_image(images / "a.png", np.zeros((41, 60, 3), np.uint8))
    rotated = Image.new("RGB", (60, 40))
    rotated.getexif()[0x0112] = 6
    rotated.save(images / "b.png", exif=rotated.getexif())
    (images / "more" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bad = content(annotation(1), annotation(2, 11), annotation(3, 51))
    bad["images"] += [{**IMAGES[0], "id": n, "file_name": f"{n}.png"} for n in (51, 61)]
    write_image(images / "51.png", np.zeros((*HW, 3), np.uint8))
    _, records = read(bad)
    assert [(r.path.name, len(r)) for r in records] == [("b.png", 1), ("51.png", 1)]
    warnings = capsys.readouterr().err.splitlines()
    for said in (
        "images whose size differs from the annotated size: 1 skipped (a.png: the image has 60x41 pixels, its",
        "objects that fit either way: 1 read as annotated upright (b.png: ",
        "unreadable image files: 1 skipped (more/c.png: ",
        "missing image files: 1 skipped (61.png)",
    ):
        assert sum(said in line for line in warnings) == 1
