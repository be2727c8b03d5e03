"""The parts of an image record fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.structures.image_record import ImageRecord


def record(n: int = 2, **changes) -> ImageRecord:
    parts = {
        "path": Path("a.jpg"),
        "image_hw": (40, 60),
        "image_id": 5,
        "boxes": np.tile(np.float32([1, 2, 30, 40]), (n, 1)),
        "labels": np.ones(n, np.int64),
        "areas": np.full(n, 100.0),
        "iscrowd": np.zeros(n, bool),
        "annotation_ids": np.arange(n),
        "masks": [[[1.0, 2.0, 30.0, 2.0, 30.0, 40.0]]] * n,
    }
    return ImageRecord(**{**parts, **changes})


def test_record_may_have_no_objects_and_no_masks():
    assert len(record()) == 2
    assert len(record(0)) == 0
    assert record(masks=None).masks is None


@pytest.mark.parametrize("part", ["labels", "areas", "iscrowd", "annotation_ids", "masks"])
def test_parts_of_unequal_length_are_an_error(part):
    with pytest.raises(ValueError, match=rf"a\.jpg: 2 boxes but 1 {part}"):
        record(**{part: getattr(record(1), part)})


@pytest.mark.parametrize("boxes", [np.zeros((2, 4)), np.zeros((2, 5), np.float32), np.zeros(2, np.float32)])
def test_boxes_of_another_type_or_shape_are_an_error(boxes):
    with pytest.raises(ValueError, match=r"a\.jpg: boxes must be float32 \[N, 4\]"):
        record(boxes=boxes)
