"""Curves have the values that dropping the detections below each score gives."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.greedy_matching import counts_by_loops, matched_at_half
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, nothing, perfect, scene, small_sets
from hypothesis import given, settings

from detect.evaluation import plots
from detect.evaluation.coco_metrics import score
from detect.evaluation.curves import class_curves, mean_curve, sampled_curves
from detect.structures.detections import Detections


def values_by_loops(records, found, label: int, threshold: float) -> list[float]:
    """Return precision, recall and F1, NaN where they are undefined."""
    correct, false, objects = counts_by_loops(records, found, label, threshold)
    precision = correct / (correct + false) if correct + false else np.nan
    recall = correct / objects if objects else np.nan
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return [precision, recall, harmonic if objects else np.nan]


@given(small_sets())
@settings(max_examples=60, deadline=None)
def test_at_every_threshold_a_curve_has_the_values_of_the_remaining_detections(sets):
    records, found = sets
    table, _, matching = matched_at_half(records, found)
    for label, curve in enumerate(class_curves(table, matching), 1):
        assert (np.diff(curve.scores) < 0).all() and set(curve.scores) <= set(table.dt_scores)
        for threshold in (0.0, 0.2, 0.3, 0.5, 0.50000005, 0.6, 1.0):
            expected = values_by_loops(records, found, label, threshold)
            assert np.ravel(curve.at(np.float32(threshold))) == pytest.approx(expected, nan_ok=True)


@given(small_sets())
@settings(max_examples=60, deadline=None)
def test_the_mean_curve_is_the_mean_over_the_classes_with_objects_at_every_score(sets):
    table, _, matching = matched_at_half(*sets)
    curves = class_curves(table, matching)
    mean = mean_curve(curves)
    own = [curve for curve in curves if curve.objects]
    assert set(mean.scores) == {value for curve in own for value in curve.scores}
    for i, threshold in enumerate(mean.scores):
        precision, recall, f1 = (np.array(values) for values in zip(*(one.at(threshold) for one in own), strict=True))
        assert mean.precision[i] == pytest.approx(np.nanmean(precision))
        assert mean.recall[i] == pytest.approx(recall.mean()) and mean.f1[i] == pytest.approx(f1.mean())


def test_a_class_without_detections_at_a_threshold_does_not_lower_the_mean_precision():
    boxes = [[10, 10, 50, 50], [80, 10, 120, 50]]
    found = Detections(HW, np.float32(boxes), np.float32([0.9, 0.5]), np.array([1, 2]))
    table, _, matching = matched_at_half([drawn(1, boxes, [1, 2])], [found])
    mean = mean_curve(class_curves(table, matching))
    assert mean.precision.tolist() == [1, 1] and mean.recall.tolist() == [0.5, 1]


def test_above_the_highest_score_nothing_is_found_and_the_precision_is_undefined():
    records = scene()
    table, _, matching = matched_at_half(records, perfect(records))
    curve = class_curves(table, matching)[0]
    assert np.ravel(curve.at(0.95)) == pytest.approx([np.nan, 0, 0], nan_ok=True)
    assert np.ravel(curve.at(0.0)) == pytest.approx([1, 1, 1])


def test_without_detections_every_recall_is_0():
    records = scene()
    table, _, matching = matched_at_half(records, nothing(records))
    sampled = sampled_curves(table, matching)
    assert sampled.objects.tolist() == [3, 1, 0]
    assert (sampled.recall[:2] == 0).all() and (sampled.f1[:2] == 0).all() and np.isnan(sampled.recall[2]).all()
    assert mean_curve(class_curves(table, matching)).scores.size == 0


def test_the_mean_precision_at_cocos_recalls_is_ap50():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    sampled = sampled_curves(table, matching)
    classes = score(records, found, SHAPES, evaluator="pycocotools")["classes"]
    expected = [classes[name]["bbox"]["AP50"] for name in SHAPES.names]
    assert sampled.precision_at_recall.mean(axis=1) == pytest.approx(expected) and len(sampled.recalls) == 101


def test_sampled_curves_are_not_defined_for_a_class_without_objects():
    records = [*scene(), drawn(4, [], [])]
    table, _, matching = matched_at_half(records, perfect(records))
    sampled = sampled_curves(table, matching, np.array([0.0, 0.6, 1.0]))
    assert sampled.thresholds.tolist() == [0.0, 0.6, 1.0] and sampled.objects.tolist() == [3, 1, 0]
    np.testing.assert_allclose(sampled.f1, [[1.0, 0.8, 0.0], [1.0, 0.0, 0.0], [np.nan] * 3])
    np.testing.assert_allclose(sampled.precision[0], [1.0, 1.0, np.nan])


def test_sampled_curves_can_be_drawn():
    records, found = noisy_scene()
    table, _, matching = matched_at_half(records, found)
    sampled = sampled_curves(table, matching)
    arguments = (SHAPES.names, sampled.objects)
    for figure in (
        plots.f1_figure(sampled.thresholds, sampled.f1, *arguments),
        plots.precision_recall_figure(sampled.recalls, sampled.precision_at_recall, *arguments),
    ):
        assert len(figure.axes[0].get_lines()) == 4  # three classes and their mean
