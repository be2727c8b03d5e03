"""Each ground-truth object is detected, of the wrong class, poorly localized or missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.evaluation.error_analysis import DETECTED, MISSED, POORLY_LOCALIZED, WRONG_CLASS, analyze_errors
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


def detections(*parts: tuple[list[int], int, float]) -> Detections:
    boxes = np.array([box for box, _, _ in parts], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in parts], np.float32)
    return Detections((100, 100), boxes, scores, np.array([label for _, label, _ in parts], np.int64))


@pytest.mark.parametrize(
    ("parts", "outcome", "predicted_as", "false_positives"),
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
def test_every_object_has_one_outcome(parts, outcome, predicted_as, false_positives):
    result = analyze_errors([record((BOX, 1))], [detections(*parts)])
    assert result.outcomes.tolist() == [outcome] and result.predicted_as.tolist() == [predicted_as]
    assert result.false_positives.tolist() == [false_positives] and result.count(outcome) == 1


def test_detection_matches_at_most_one_object():
    result = analyze_errors([record((BOX, 1), (BOX, 1))], [detections((BOX, 1, 0.9))])
    assert result.count(DETECTED) == 1 and result.count(MISSED) == 1


def test_matched_detection_is_not_counted_as_wrong_class_of_another_object():
    rider, horse = [10, 10, 30, 30], [10, 14, 30, 34]  # IoU 2/3
    result = analyze_errors([record((rider, 1), (horse, 2))], [detections((horse, 2, 0.9))])
    assert result.outcomes.tolist() == [MISSED, DETECTED] and result.predicted_as.tolist() == [0, 0]


def test_crowd_regions_are_neither_objects_nor_false_positives():
    result = analyze_errors([record((BOX, 1), (FAR, 1), crowd=(1,))], [detections((FAR, 1, 0.9), (BOX, 1, 0.8))])
    assert result.outcomes.tolist() == [DETECTED] and result.false_positives.tolist() == [0]
    in_crowd = detections(([70, 70, 74, 76], 1, 0.9), ([50, 50, 62, 62], 1, 0.8))  # fully inside; 1/36 inside
    assert analyze_errors([record((FAR, 1), crowd=(0,))], [in_crowd]).false_positives.tolist() == [1]


def test_objects_are_identified_by_image_and_row():
    records = [record(), record((FAR, 1), (BOX, 2))]
    result = analyze_errors(records, [detections(), detections((BOX, 2, 0.9))])
    assert list(zip(result.images.tolist(), result.rows.tolist(), result.outcomes.tolist(), strict=True)) == [
        (1, 0, MISSED), (1, 1, DETECTED)
    ]  # fmt: skip
