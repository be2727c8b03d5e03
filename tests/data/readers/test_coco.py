"""COCO's JSON: annotations are read exactly, and a bad file is a one-line error with file and reason."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from helpers.coco_files import (
    CATEGORIES,
    COMPRESSED,
    IMAGES,
    SQUARE,
    UNCOMPRESSED,
    annotation,
    assert_one_line,
    content,
)
from helpers.reading import read_problems
from helpers.via_files import BITMAP, HW, bitmap_of

from detect.errors import DataError, UsageError


def test_all_parts_of_the_ground_truth_are_read(read, images):
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
def test_mask_encodings_give_the_same_pixels(read, segmentation, iscrowd):
    _, (record, *_) = read(content(annotation(1, segmentation=segmentation, iscrowd=iscrowd)))
    np.testing.assert_array_equal(bitmap_of(record, 0), BITMAP)
    assert record.iscrowd.tolist() == [bool(iscrowd)]


def test_images_without_objects_are_kept(read):
    _, records = read(content(annotation(1)))
    for empty in records[1:]:
        assert empty.boxes.shape == (0, 4) and empty.boxes.dtype == np.float32
        assert empty.labels.shape == (0,) and empty.labels.dtype == np.int64
        assert empty.masks == []
    with pytest.raises(DataError, match="no images"):
        read({**content(), "images": []})


def test_classes_can_be_chosen_in_another_order(read):
    names, (record, *_) = read(
        content(annotation(1, category_id=90), annotation(2, category_id=7), annotation(3, category_id=3)),
        ["triangle", "circle"],
    )
    assert names.names == ("triangle", "circle") and names.ids == (3, 90)
    assert list(zip(record.annotation_ids.tolist(), record.labels.tolist(), strict=True)) == [(1, 2), (3, 1)]
    assert record.masks is not None and len(record.masks) == 2
    with pytest.raises(UsageError, match=r"unknown class 'cirle': did you mean circle"):
        read(content(), ["cirle"])


def test_missing_box_and_area_are_computed_from_the_mask(read):
    _, (record, *_) = read(
        content(annotation(1, bbox=None, area=None), annotation(2, area=None, bbox=[0, 0, 30, 30], segmentation=None))
    )
    assert record.boxes.tolist() == [[10, 5, 30, 20], [0, 0, 30, 30]]
    assert record.areas.tolist() == [300, 900]


def test_ids_written_as_floats_are_ids(read):
    _, (record, *_) = read(content(annotation(1.0, 21.0, 7.0)))
    assert record.labels.tolist() == [2] and record.annotation_ids.dtype == np.int64


def test_byte_order_mark_is_ignored(read):
    assert len(read("\ufeff" + json.dumps(content()))[1]) == 3


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
        ("{'id': 1}", r"ground truth\.json is not JSON: .* line 1 column 2"),
        ("", r"ground truth\.json is not JSON"),
        ([], r"ground truth\.json is a list; expected a dict with the key 'images'"),
        (without("categories"), r"ground truth\.json lacks the key 'categories'"),
        (without("images"), r"ground truth\.json lacks the key 'images'"),
        (without("annotations"), r"ground truth\.json lacks the key 'annotations'"),
        ({**content(), "categories": {"7": "square"}}, "'categories' is .* expected a list"),
        ({**content(), "categories": []}, "lists no categories"),
        ({**content(), "images": None}, "'images' is 'None'; expected a list"),
        ({**content(), "annotations": {}}, "'annotations' is '{}'; expected a list"),
        ({**content(), "categories": [*CATEGORIES, CATEGORIES[0]]}, "duplicate class name: circle"),
        (changed("categories", id=3), "duplicate category id: 3"),
        (changed("categories", id=[90]), r"categories\[0\]: Expected `int \| str`, got `array` - at `\$\.id`"),
        (changed("categories", id=1.5), r"categories\[0\]: Expected `int \| str`, got `float` - at `\$\.id`"),
        (changed("categories", name=None), r"categories\[0\]: Object missing required field `name`"),
    ],
)
def test_bad_file_is_a_one_line_error_with_file_and_reason(read, bad, said):
    with pytest.raises(DataError, match=said) as error:
        read(bad)
    assert "ground truth.json" in str(error.value)
    assert_one_line(error)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": None}, r"images\[0\]: Object missing required field `id`"),
        ({"id": [1]}, r"Expected `int \| str`, got `array`"),
        ({"id": 1 << 70}, r"images\[0\]"),
        ({"width": -60}, r"Expected `int` >= 1 - at `\$\.width`"),
        ({"width": "wide"}, r"Expected `int \| null`, got `str`"),
        ({"file_name": None}, "missing required field `file_name`"),
        ({"file_name": 7}, "Expected `str`, got `int`"),
    ],
)
def test_invalid_images_are_skipped_with_their_objects(read, images, changes, said):
    bad = content(annotation(1), annotation(2, 11))
    bad["images"][0] = {k: v for k, v in (bad["images"][0] | changes).items() if v is not None}
    _, records = read(bad)
    assert [r.image_id for r in records] == [11, 31] and len(records[0]) == 1
    problems = dict(read_problems("coco", images, images.parent / "ground truth.json"))
    assert set(problems) == {"malformed_image_entry", "unknown_image"}
    assert re.search(said, problems["malformed_image_entry"])
    assert "annotation 1: image 21" in problems["unknown_image"]


def test_repeated_image_is_read_once_and_images_with_the_same_id_are_skipped(read, images):
    bad = content(annotation(1), annotation(2, 11))
    bad["images"] += [IMAGES[1], {**IMAGES[0], "file_name": "more/c.png"}]
    _, records = read(bad)
    assert [(r.image_id, len(r)) for r in records] == [(11, 1), (31, 0)]
    problems = read_problems("coco", images, images.parent / "ground truth.json")
    assert [location[:15] for kind, location in problems if kind == "duplicate_image_id"] == [
        "b.png, image 21",
        "more/c.png, ima",
    ]
