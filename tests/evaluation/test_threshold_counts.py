"""Counts at a threshold are those of the detections that a Predictor with it would return."""

from __future__ import annotations

import numpy as np
from helpers.greedy_matching import counts_by_loops, matched_at_half
from helpers.scenes import HW, drawn, scene, small_sets
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.evaluation.threshold_counts import counts_at, false_positives_without_objects
from detect.structures.detections import Detections

BOX = [10, 10, 50, 50]


def detections(*scores: float, label: int = 1) -> Detections:
    n = len(scores)
    return Detections(HW, np.float32([BOX] * n).reshape(-1, 4), np.float32(scores), np.full(n, label))


@given(small_sets(), st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.7, np.inf]), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_counts_per_image_and_class_are_those_of_the_remaining_detections(sets, thresholds):
    records, found = sets
    table, _, matching = matched_at_half(records, found)
    counts = counts_at(table, matching, np.array(thresholds))
    for label, threshold in enumerate(thresholds, 1):
        for i in range(len(records)):
            expected = counts_by_loops(records[i : i + 1], found[i : i + 1], label, threshold)
            cells = (counts.true_positives, counts.false_positives, counts.objects)
            assert tuple(cell[i, label - 1] for cell in cells) == expected
    assert all(part.dtype == np.int64 for part in vars(counts).values())


def test_a_threshold_equal_to_a_score_keeps_the_detection_also_after_rounding_to_float32():
    table, _, matching = matched_at_half([drawn(1, [BOX], [1])], [detections(0.9)])
    assert float(np.float32(0.9)) < 0.9
    assert counts_at(table, matching, np.array([0.9, 0, 0])).true_positives.sum() == 1
    assert counts_at(table, matching, np.array([0.91, 0, 0])).true_positives.sum() == 0


def test_rates_are_undefined_without_detections_or_objects():
    table, _, matching = matched_at_half([drawn(1, [BOX], [1])], [detections(0.9, label=3)])
    precision, recall, f1 = counts_at(table, matching, np.zeros(3)).rates()
    np.testing.assert_array_equal(precision, [np.nan, np.nan, 0])
    np.testing.assert_array_equal(recall, [0, np.nan, np.nan])
    np.testing.assert_array_equal(f1, [0, np.nan, np.nan])


def test_false_positives_in_images_without_objects_are_counted_per_image():
    records = [drawn(1, [BOX], [1]), drawn(2, [], []), drawn(3, [], []), drawn(4, [], [])]
    found = [detections(0.9, 0.8), detections(0.9, 0.8, 0.3), detections(0.2), detections()]
    table, _, matching = matched_at_half(records, found)
    result = false_positives_without_objects(table, matching, np.full(3, 0.5))
    assert (result.images, result.affected, result.false_positives) == (3, 1, 2)
    assert result.per_image == 2 / 3


def test_an_image_with_a_crowd_region_is_not_without_objects():
    records = [record for record in scene() if len(record)] + [drawn(9, [BOX], [1], crowds=[0])]
    table, _, matching = matched_at_half(records, [detections()] * len(records))
    assert false_positives_without_objects(table, matching, np.zeros(3)) is None
