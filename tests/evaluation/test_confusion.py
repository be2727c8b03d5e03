"""Every object and every detection counts once in the confusion matrix, the own class first."""

from __future__ import annotations

import numpy as np
from helpers.greedy_matching import matched_at_half
from helpers.scenes import HW, drawn, perfect, scene, small_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.evaluation.confusion import Confusion, confusion_matrix
from detect.evaluation.threshold_counts import counts_at
from detect.structures.detections import Detections

BOX = [10, 10, 50, 50]
SHIFTED = [10, 14, 50, 54]  # IoU 0.82
FAR = [90, 60, 120, 100]
BACKGROUND = MISSED = 3


def confusion(objects, found, threshold: float = 0.5, crowds=()) -> Confusion:
    """objects: (box, label).  found: (box, label, score), by descending score."""
    record = drawn(1, [box for box, _ in objects], [label for _, label in objects], crowds=crowds)
    boxes, labels, scores = ([one[part] for one in found] for part in range(3))
    detections = Detections(HW, np.float32(boxes).reshape(-1, 4), np.float32(scores), np.array(labels, np.int64))
    table, overlaps, matching = matched_at_half([record], [detections])
    return confusion_matrix(table, overlaps, matching, np.full(3, threshold))


def cells(result: Confusion) -> dict[tuple[int, int], int]:
    """Return the counts that are not 0: (row, column) -> count."""
    return {(row, column): int(result.matrix[row, column]) for row, column in np.argwhere(result.matrix).tolist()}


def test_ground_truth_as_detections_fills_only_the_diagonal():
    records = scene()
    table, overlaps, matching = matched_at_half(records, perfect(records))
    result = confusion_matrix(table, overlaps, matching, np.zeros(3))
    assert cells(result) == {(0, 0): 3, (1, 1): 1} and result.matrix.dtype == np.int64


def test_an_object_found_as_another_class_is_one_confusion():
    result = confusion([(BOX, 1)], [(SHIFTED, 2, 0.9)])
    assert cells(result) == {(0, 1): 1}
    assert (result.detection.tolist(), result.ground_truth.tolist()) == ([0], [0])


def test_a_correct_detection_is_preferred_to_one_of_another_class_with_a_higher_score_and_iou():
    result = confusion([(BOX, 1)], [(BOX, 2, 0.95), (SHIFTED, 1, 0.6)])
    assert cells(result) == {(0, 0): 1, (BACKGROUND, 1): 1} and result.background.tolist() == [0]


def test_detections_without_object_and_duplicates_count_as_background_and_other_objects_as_missed():
    result = confusion([(BOX, 1), (FAR, 3)], [(BOX, 1, 0.9), (SHIFTED, 1, 0.8), ([0, 90, 20, 110], 2, 0.7)])
    assert cells(result) == {(0, 0): 1, (BACKGROUND, 0): 1, (BACKGROUND, 1): 1, (2, MISSED): 1}
    assert result.missed.tolist() == [1] and result.background.tolist() == [1, 2]


def test_detections_below_the_threshold_of_their_class_do_not_count():
    assert cells(confusion([(BOX, 1)], [(BOX, 1, 0.5)], threshold=0.5)) == {(0, 0): 1}
    assert cells(confusion([(BOX, 1)], [(BOX, 1, 0.5)], threshold=0.51)) == {(0, MISSED): 1}
    assert cells(confusion([(BOX, 1)], [(BOX, 1, 0.5)], threshold=np.inf)) == {(0, MISSED): 1}


def test_confusions_are_paired_by_the_highest_iou():
    result = confusion([(BOX, 1), (SHIFTED, 3)], [(BOX, 2, 0.6), (SHIFTED, 2, 0.6)])
    assert sorted(zip(result.detection.tolist(), result.ground_truth.tolist(), strict=True)) == [(0, 0), (1, 1)]
    assert cells(result) == {(0, 1): 1, (2, 1): 1}


def test_crowd_regions_are_neither_missed_nor_confused_and_their_detections_do_not_count():
    inside = [20, 20, 40, 40]
    assert cells(confusion([(BOX, 1)], [(inside, 1, 0.9)], crowds=[0])) == {}
    assert cells(confusion([(BOX, 1)], [(BOX, 2, 0.9)], crowds=[0])) == {(BACKGROUND, 1): 1}


@given(small_sets(), st.sampled_from([0.0, 0.5, 0.7]))
@settings(max_examples=80, deadline=None)
def test_rows_sum_to_objects_columns_to_detections_and_the_diagonal_has_the_true_positives(sets, threshold):
    table, overlaps, matching = matched_at_half(*sets)
    thresholds = np.full(3, threshold)
    result = confusion_matrix(table, overlaps, matching, thresholds)
    counts = counts_at(table, matching, thresholds)
    correct, false, objects = (part.sum(axis=0) for part in vars(counts).values())
    np.testing.assert_array_equal(result.matrix[:3].sum(axis=1), objects)
    np.testing.assert_array_equal(result.matrix[:, :3].sum(axis=0), correct + false)
    np.testing.assert_array_equal(result.matrix.diagonal(), [*correct, 0])
    assert len(set(result.detection)) == len(result.detection) and len(set(result.ground_truth)) == len(
        result.detection
    )
    iou = {(d, g): iou for d, g, iou in zip(overlaps.detection, overlaps.ground_truth, overlaps.iou, strict=True)}
    assert all(iou[pair] >= 0.5 for pair in zip(result.detection, result.ground_truth, strict=True))
    left = [pair for pair in iou if pair[0] in result.background and pair[1] in result.missed]
    assert all(iou[pair] < 0.5 for pair in left)
