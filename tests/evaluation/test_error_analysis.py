"""What becomes of each object: found, taken for another class, badly placed or missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.evaluation.error_analysis import BADLY_PLACED, FOUND, MISSED, WRONG_CLASS, mistakes
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

BOX = [10, 10, 30, 30]
BESIDE = [20, 10, 40, 30]  # IoU 1/3
FAR = [60, 60, 90, 90]


def record(*objects: tuple[list[int], int], crowd: tuple[int, ...] = ()) -> ImageRecord:
    boxes = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in objects], np.int64)
    n = len(objects)
    iscrowd = np.isin(np.arange(n), crowd)
    return ImageRecord(Path("a.png"), (100, 100), 1, boxes, labels, np.ones(n), iscrowd, np.arange(n))


def found(*detections: tuple[list[int], int, float]) -> Detections:
    boxes = np.array([box for box, _, _ in detections], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in detections], np.float32)
    return Detections((100, 100), boxes, scores, np.array([label for _, label, _ in detections], np.int64))


@pytest.mark.parametrize(
    ("detections", "outcome", "taken_for", "false_alarms"),
    [
        ([(BOX, 1, 0.9)], FOUND, 0, 0),
        ([(BOX, 2, 0.9)], WRONG_CLASS, 2, 0),
        ([(BOX, 2, 0.9), (BOX, 1, 0.6)], FOUND, 0, 0),
        ([(BESIDE, 1, 0.9)], BADLY_PLACED, 0, 0),
        ([(BESIDE, 2, 0.9)], MISSED, 0, 0),
        ([(BOX, 1, 0.4)], MISSED, 0, 0),
        ([(FAR, 1, 0.9)], MISSED, 0, 1),
        ([], MISSED, 0, 0),
    ],
)
def test_an_object_has_one_outcome(detections, outcome, taken_for, false_alarms):
    seen = mistakes([record((BOX, 1))], [found(*detections)])
    assert seen.outcomes.tolist() == [outcome] and seen.taken_for.tolist() == [taken_for]
    assert seen.false_alarms.tolist() == [false_alarms] and seen.count(outcome) == 1


def test_a_detection_finds_one_object():
    seen = mistakes([record((BOX, 1), (BOX, 1))], [found((BOX, 1, 0.9))])
    assert seen.count(FOUND) == 1 and seen.count(MISSED) == 1


def test_what_has_found_an_object_is_not_taken_for_another():
    rider, horse = [10, 10, 30, 30], [10, 14, 30, 34]  # IoU 2/3
    seen = mistakes([record((rider, 1), (horse, 2))], [found((horse, 2, 0.9))])
    assert seen.outcomes.tolist() == [MISSED, FOUND] and seen.taken_for.tolist() == [0, 0]


def test_crowds_are_neither_looked_for_nor_false_alarms():
    seen = mistakes([record((BOX, 1), (FAR, 1), crowd=(1,))], [found((FAR, 1, 0.9), (BOX, 1, 0.8))])
    assert seen.outcomes.tolist() == [FOUND] and seen.false_alarms.tolist() == [0]
    one_of_many = found(([70, 70, 74, 76], 1, 0.9), ([50, 50, 62, 62], 1, 0.8))  # inside; a 36th of it inside
    assert mistakes([record((FAR, 1), crowd=(0,))], [one_of_many]).false_alarms.tolist() == [1]


def test_objects_are_told_by_image_and_row():
    records = [record(), record((FAR, 1), (BOX, 2))]
    seen = mistakes(records, [found(), found((BOX, 2, 0.9))])
    assert list(zip(seen.images.tolist(), seen.rows.tolist(), seen.outcomes.tolist(), strict=True)) == [
        (1, 0, MISSED), (1, 1, FOUND)
    ]  # fmt: skip
