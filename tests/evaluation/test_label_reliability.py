"""How far agreement with annotations can be relied on: measured fractions, and doubt where little is known."""

from __future__ import annotations

import numpy as np
import pytest

from detect.evaluation.label_reliability import confirmed_fraction, mean_of_similar_sizes, outlier_probability

SCORES = np.linspace(0.01, 0.99, 99)


def test_without_detections_the_score_itself_is_the_fraction():
    none = np.zeros(0)
    np.testing.assert_allclose(confirmed_fraction(none, none.astype(bool), SCORES), SCORES)


@pytest.mark.parametrize("fraction", [lambda s: s, lambda s: s / 2 + 0.25, lambda s: np.full_like(s, 0.5)])
def test_the_fraction_of_confirmed_detections_is_recovered(fraction):
    scores = np.linspace(0.05, 0.95, 4001)
    is_confirmed = np.arange(len(scores)) * 0.618034 % 1 < fraction(scores)  # more evenly spread than random numbers
    estimated = confirmed_fraction(scores, is_confirmed, SCORES[10:90])
    np.testing.assert_allclose(estimated, fraction(SCORES[10:90]), atol=0.05)


@pytest.mark.parametrize("is_confirmed", [np.zeros(99, bool), np.ones(99, bool), SCORES < 0.5, SCORES > 0.5])
def test_the_fraction_never_falls_with_the_score_and_stays_in_range(is_confirmed):
    estimated = confirmed_fraction(SCORES, is_confirmed, SCORES)
    assert (np.diff(estimated) >= -1e-12).all()
    assert 0 <= estimated.min() <= estimated.max() <= 1


def test_scores_of_0_and_1_are_accepted():
    estimated = confirmed_fraction(np.array([0.0, 1.0]), np.array([False, True]), np.array([0.0, 1.0]))
    assert np.isfinite(estimated).all()


def test_small_objects_that_are_rarely_found_do_not_lower_the_mean_of_large_ones():
    areas = np.concatenate([np.full(100, 10.0), np.full(100, 1000.0)])
    means = mean_of_similar_sizes(areas, np.repeat([0.2, 1.0], 100))
    assert means[:50].max() < 0.25 and means[-50:].min() > 0.9


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_examples_never_give_a_high_mean(count):
    assert mean_of_similar_sizes(np.ones(count), np.ones(count)).max() == pytest.approx(count / (count + 1))


def usual_ious(count: int = 400) -> np.ndarray:
    return 1 - np.exp(np.random.default_rng(0).normal(np.log(0.1), 0.4, count))


def test_ious_of_one_distribution_have_no_outliers():
    usual = usual_ious()
    assert (outlier_probability(usual, usual) > 0.5).mean() < 0.01


def test_planted_low_ious_are_outliers_although_they_are_among_those_that_define_what_is_usual():
    all_ious = np.concatenate([usual_ious(), np.linspace(0.4, 0.6, 40)])
    assert outlier_probability(np.array([0.4, 0.5, 0.55]), all_ious).min() > 0.9
    assert outlier_probability(np.array([0.85, 0.9, 0.95]), all_ious).max() < 0.2


def test_nothing_is_an_outlier_where_few_ious_are_known():
    assert not outlier_probability(np.array([0.3]), usual_ious(20)).any()
