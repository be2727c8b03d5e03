"""What is said before the first epoch about the number of detections that are scored."""

from __future__ import annotations

import pytest
from helpers.scenes import SHAPES, drawn

from detect.training.data import TrainingData
from detect.training.validation import describe_limit


@pytest.mark.parametrize(
    ("train", "val", "limit", "words"),
    [
        (100, 100, 100, None),
        (100, 120, 100, ["val: 1 image has", "AP is at most 0.832", "`max_detections`"]),
        (120, 120, 100, ["val: 1 image has", "AP is at most 0.832"]),
        (120, 3, 100, ["train: 1 image has", "the 100 detections"]),
        (120, 120, 150, ["val: ", "not COCO's standard", "150"]),
        (200, 200, 150, ["val: ", "not COCO's standard", "150", "AP is at most 0.752"]),
    ],
)
def test_one_line_describes_a_limit_that_matters(train, val, limit, words):
    records = [
        [drawn(1, [[i % 12, i // 12, i % 12 + 1, i // 12 + 1] for i in range(n)], [1] * n)] for n in (train, val)
    ]
    line = describe_limit(TrainingData("dots", ("train", "val"), SHAPES, records[0], SHAPES, records[1]), limit)
    assert "\n" not in line and (all(word in line for word in words) if words else line == "")
