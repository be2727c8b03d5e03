"""Scores that state the probability of being correct have no calibration error; others have the error they state."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.greedy_matching import counts_by_loops, matched_at_half
from helpers.scenes import HW, drawn, nothing, scene, small_sets
from hypothesis import given, settings

from detect.evaluation.calibration import Calibration, calibration
from detect.structures.detections import Detections

BOX, FAR = [10, 10, 50, 50], [90, 60, 120, 100]


def of_probabilities(score_of) -> Calibration:
    """Return the calibration of 1000 images with one detection each, correct with a probability p that the function
    ``score_of`` turns into its score."""
    records, found = [], []
    for i, p in enumerate(np.arange(0.0005, 1, 0.001)):
        box = BOX if i * 0.618034 % 1 < p else FAR  # more evenly spread than random numbers
        records.append(drawn(1, [BOX], [1]))
        found.append(Detections(HW, np.float32([box]), np.float32([score_of(p)]), np.array([1])))
    table, _, matching = matched_at_half(records, found)
    return calibration(table, matching)


def test_scores_equal_to_the_probability_of_being_correct_have_no_error():
    result = of_probabilities(lambda p: p)
    assert result.expected_error < 0.01 and abs(result.overconfidence) < 0.01
    np.testing.assert_allclose(result.correct, np.arange(0.05, 1, 0.1), atol=0.02)
    np.testing.assert_allclose(result.mean_score, np.arange(0.05, 1, 0.1), atol=0.001)


def test_scores_that_are_too_high_or_too_low_show_by_how_much():
    high = of_probabilities(lambda p: 0.5 + p / 2)
    assert high.expected_error == pytest.approx(0.25, abs=0.01) == high.overconfidence
    assert (high.counts[:5] == 0).all() and np.isnan(high.correct[:5]).all() and np.isnan(high.mean_score[:5]).all()
    low = of_probabilities(lambda p: p / 2)
    assert low.expected_error == pytest.approx(0.25, abs=0.01) == -low.overconfidence


def test_a_score_at_a_limit_between_two_bins_is_in_the_lower_one():
    one = Detections(HW, np.float32([BOX]), np.float32([0.5]), np.array([1]))
    table, _, matching = matched_at_half([drawn(1, [BOX], [1])], [one])
    assert calibration(table, matching).counts.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


@given(small_sets())
@settings(max_examples=40, deadline=None)
def test_bins_hold_all_detections_that_are_correct_or_false(sets):
    records, found = sets
    table, _, matching = matched_at_half(records, found)
    result = calibration(table, matching)
    correct, false, _ = np.sum([counts_by_loops(records, found, label, 0) for label in (1, 2, 3)], axis=0)
    assert result.counts.sum() == correct + false
    assert np.nansum(result.correct * result.counts) == pytest.approx(correct)
    # Detections have the scores 0.2, 0.5, 0.5000001 and 1; as float32 the first is above 0.2.
    assert set(np.flatnonzero(result.counts)) <= {2, 4, 5, 9}


def test_without_detections_there_is_no_error():
    records = scene()
    table, _, matching = matched_at_half(records, nothing(records))
    result = calibration(table, matching)
    assert result.expected_error is None and result.overconfidence is None and result.counts.tolist() == [0] * 10
    assert np.isnan(result.correct).all()


def test_the_expected_error_weights_bins_by_their_detections():
    columns = (np.array([3, 0, 1]), np.array([0.2, np.nan, 0.9]), np.array([0.1, np.nan, 0.5]))
    result = Calibration(*columns)
    assert result.expected_error == pytest.approx((3 * 0.1 + 1 * 0.4) / 4) == result.overconfidence
