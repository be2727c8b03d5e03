"""The nouns: what is made holds together, and stays together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detect.errors import UsageError
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

SHAPES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
HW = (40, 60)


# ClassNames


def test_labels_names_and_sparse_ids_are_tied_together():
    assert len(SHAPES) == 3
    for label, name, category_id in ((1, "circle", 90), (2, "square", 7), (3, "triangle", 3)):
        assert SHAPES.name(label) == name
        assert SHAPES.category_id(label) == category_id
        assert SHAPES.label(name) == SHAPES.label(category_id) == SHAPES.label(str(category_id)) == label
    assert SHAPES.labels(["triangle", 90, "7"]) == [3, 1, 2]


def test_ids_are_counted_from_1_where_nobody_says():
    assert ClassNames(("a", "b")).ids == (1, 2)


def test_0_is_an_id_like_any_other():
    names = ClassNames(("a", "b"), (0, 1))
    assert (names.label(0), names.label(1)) == (1, 2)
    assert names.category_id(1) == 0


def test_a_name_that_looks_like_an_id_is_a_name_first():
    assert ClassNames(("7", "x"), (3, 7)).label("7") == 1
    assert ClassNames(("7", "x"), (3, 7)).label(7) == 2


@pytest.mark.parametrize("typed", ["sqare", "Square", 8, "8", "", "1.5"])
def test_an_unknown_class_is_the_users_mistake(typed):
    with pytest.raises(UsageError, match=f"unknown class '{typed}': .*known are circle, square, triangle"):
        SHAPES.label(typed)


def test_the_near_name_is_told():
    with pytest.raises(UsageError, match=r"did you mean square\?"):
        SHAPES.label("sqare")


@pytest.mark.parametrize("label", [0, 4, -1])
def test_background_and_what_lies_beyond_have_no_name(label):
    for of in (SHAPES.name, SHAPES.category_id):
        with pytest.raises(IndexError, match=r"not in 1\.\.3"):
            of(label)


@pytest.mark.parametrize(
    ("names", "ids", "said"),
    [
        (("cat", "dog", "cat"), (), "class name given twice: cat"),
        (("cat", "dog"), (5, 5), "category id given twice: 5"),
        (("cat", "dog"), (1, 2, 3), "2 class names but 3 category ids"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_refused(names, ids, said):
    with pytest.raises(ValueError, match=said):
        ClassNames(names, ids)


# ImageRecord


def record(n: int = 2, **changes) -> ImageRecord:
    parts = {
        "path": Path("a.jpg"),
        "image_hw": HW,
        "image_id": 5,
        "boxes": np.tile(np.float32([1, 2, 30, 40]), (n, 1)),
        "labels": np.ones(n, np.int64),
        "areas": np.full(n, 100.0),
        "iscrowd": np.zeros(n, bool),
        "annotation_ids": np.arange(n),
        "masks": [[[1.0, 2.0, 30.0, 2.0, 30.0, 40.0]]] * n,
    }
    return ImageRecord(**{**parts, **changes})


def test_a_record_may_be_empty_and_may_have_no_masks():
    assert len(record()) == 2
    assert len(record(0)) == 0
    assert record(masks=None).masks is None


@pytest.mark.parametrize("part", ["labels", "areas", "iscrowd", "annotation_ids", "masks"])
def test_a_record_of_unequal_parts_is_refused(part):
    with pytest.raises(ValueError, match=rf"a\.jpg: 2 boxes but 1 {part}"):
        record(**{part: getattr(record(1), part)})


@pytest.mark.parametrize("boxes", [np.zeros((2, 4)), np.zeros((2, 5), np.float32), np.zeros(2, np.float32)])
def test_a_record_takes_boxes_of_one_kind_only(boxes):
    with pytest.raises(ValueError, match=r"a\.jpg: boxes must be float32 \[N, 4\]"):
        record(boxes=boxes)


# Detections


def found() -> Detections:
    """Three, each with a mask of as many pixels as its label says."""
    rles = [masks.from_pasted(np.ones((1, label), bool), (0, 0), HW) for label in (2, 1, 2)]
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    return Detections(HW, boxes, np.float32([0.9, 0.5, 0.2]), np.array([2, 1, 2]), rles)


def assert_together(some: Detections, numbers: list[int]) -> None:
    """``some`` are those at ``numbers`` of ``found()``, with all their parts."""
    every = found()
    assert len(some) == len(numbers)
    np.testing.assert_array_equal(some.boxes, every.boxes[numbers])
    np.testing.assert_array_equal(some.scores, every.scores[numbers])
    np.testing.assert_array_equal(some.labels, every.labels[numbers])
    assert [masks.area(rle) for rle in some.masks] == some.labels.tolist()


def test_nothing_found_is_a_result_too():
    nothing = Detections(HW)
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4) and nothing.labels.dtype == np.int64
    assert len(nothing.filter(0.5, [1])) == 0 and len(nothing[[]]) == 0


@pytest.mark.parametrize(
    ("index", "numbers"),
    [
        ([0, 2], [0, 2]),
        ([], []),
        (slice(1, None), [1, 2]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([1]), [1]),
    ],
)
def test_an_index_keeps_the_parts_together(index, numbers):
    assert_together(found()[index], numbers)


@pytest.mark.parametrize(
    ("threshold", "labels", "numbers"),
    [(0.0, None, [0, 1, 2]), (0.5, None, [0, 1]), (0.95, None, []), (0.0, [2], [0, 2]), (0.3, [2], [0]), (0, [], [])],
)
def test_a_filter_keeps_the_parts_together(threshold, labels, numbers):
    """What scores the threshold itself is kept."""
    assert_together(found().filter(threshold, labels), numbers)


def test_detections_without_masks_stay_so():
    assert replace(found(), masks=None).filter(0.5).masks is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"boxes": np.zeros((3, 4))}, "boxes must be float32"),
        ({"boxes": np.zeros((3, 5), np.float32)}, "boxes must be float32"),
        ({"boxes": np.full((3, 4), np.nan, np.float32)}, "boxes must be finite"),
        ({"boxes": np.full((3, 4), np.inf, np.float32)}, "boxes must be finite"),
        ({"boxes": np.zeros((2, 4), np.float32)}, r"scores must be float32 \[2\]"),
        ({"scores": np.array([0.9, 0.5, 0.2])}, "scores must be float32"),
        ({"scores": np.float32([[0.9], [0.5], [0.2]])}, "scores must be float32"),
        ({"scores": np.float32([0.5, 0.9, 0.2])}, "descend"),
        ({"scores": np.float32([1.1, 0.9, 0.2])}, r"0\.\.1"),
        ({"scores": np.float32([0.9, 0.5, -0.1])}, r"0\.\.1"),
        ({"scores": np.float32([0.9, np.nan, 0.2])}, r"0\.\.1"),
        ({"scores": np.full(3, np.nan, np.float32)}, r"0\.\.1"),
        ({"labels": np.array([1, 2])}, r"labels must be int64 \[3\]"),
        ({"labels": np.array([1, 2, 3], np.int32)}, "labels must be int64"),
        ({"labels": np.array([1.0, 2.0, 3.0])}, "labels must be int64"),
        ({"labels": np.array([1, 0, 2])}, "background"),
        ({"masks": []}, "3 boxes but 0 masks"),
        ({"image_hw": (60, 40)}, r"a mask of size \[40, 60\] on an image of \(60, 40\)"),
    ],
)
def test_detections_are_checked_when_made(changes, said):
    with pytest.raises(ValueError, match=said):
        replace(found(), **changes)


def test_equal_scores_may_stand_in_any_order():
    assert len(replace(found(), scores=np.full(3, 0.5, np.float32))) == 3


def test_keypoints_go_where_their_boxes_go_and_are_one_set_a_box():
    points = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    boxes, scores = np.float32([[0, 0, 5, 5], [1, 1, 9, 9]]), np.float32([0.9, 0.4])
    found = Detections(HW, boxes, scores, np.array([1, 1]), keypoints=points)
    np.testing.assert_array_equal(found.filter(threshold=0.5).keypoints, points[:1])
    np.testing.assert_array_equal(found[[1]].keypoints, points[1:])
    for wrong in (points[:1], points[..., :2], points[0]):
        with pytest.raises(ValueError, match=r"keypoints must be \[2, P, 3\]"):
            Detections(HW, boxes, scores, np.array([1, 1]), keypoints=wrong)
