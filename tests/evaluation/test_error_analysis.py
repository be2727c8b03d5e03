"""What becomes of each object: found, taken for another class, badly placed or missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.evaluation.error_analysis import POORLY_LOCALIZED, DETECTED, MISSED, WRONG_CLASS, analyze_errors
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
    ("detections", "outcome", "predicted_as", "false_positives"),
    [
        ([(BOX, 1, 0.9)], DETECTED, 0, 0),
        ([(BOX, 2, 0.9)], WRONG_CLASS, 2, 0),
        ([(BOX, 2, 0.9), (BOX, 1, 0.6)], DETECTED, 0, 0),
        ([(BESIDE, 1, 0.9)], POORLY_LOCALIZED, 0, 0),
        ([(BESIDE, 2, 0.9)], MISSED, 0, 0),
        ([(BOX, 1, 0.4)], MISSED, 0, 0),
        ([(FAR, 1, 0.9)], MISSED, 0, 1),
        ([], MISSED, 0, 0),
    ],
)
def test_an_object_has_one_outcome(detections, outcome, predicted_as, false_positives):
    seen = analyze_errors([record((BOX, 1))], [found(*detections)])
    assert seen.outcomes.tolist() == [outcome] and seen.predicted_as.tolist() == [predicted_as]
    assert seen.false_positives.tolist() == [false_positives] and seen.count(outcome) == 1


def test_a_detection_finds_one_object():
    seen = analyze_errors([record((BOX, 1), (BOX, 1))], [found((BOX, 1, 0.9))])
    assert seen.count(DETECTED) == 1 and seen.count(MISSED) == 1


def test_what_has_found_an_object_is_not_taken_for_another():
    rider, horse = [10, 10, 30, 30], [10, 14, 30, 34]  # IoU 2/3
    seen = analyze_errors([record((rider, 1), (horse, 2))], [found((horse, 2, 0.9))])
    assert seen.outcomes.tolist() == [MISSED, DETECTED] and seen.predicted_as.tolist() == [0, 0]


def test_crowds_are_neither_looked_for_nor_false_alarms():
    seen = analyze_errors([record((BOX, 1), (FAR, 1), crowd=(1,))], [found((FAR, 1, 0.9), (BOX, 1, 0.8))])
    assert seen.outcomes.tolist() == [DETECTED] and seen.false_positives.tolist() == [0]
    one_of_many = found(([70, 70, 74, 76], 1, 0.9), ([50, 50, 62, 62], 1, 0.8))  # inside; a 36th of it inside
    assert analyze_errors([record((FAR, 1), crowd=(0,))], [one_of_many]).false_positives.tolist() == [1]


def test_objects_are_told_by_image_and_row():
    records = [record(), record((FAR, 1), (BOX, 2))]
    seen = analyze_errors(records, [found(), found((BOX, 2, 0.9))])
    assert list(zip(seen.images.tolist(), seen.rows.tolist(), seen.outcomes.tolist(), strict=True)) == [
        (1, 0, MISSED), (1, 1, DETECTED)
    ]  # fmt: skip
