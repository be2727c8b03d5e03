"""Confidence intervals: a half sample scores as COCO scores its images, and intervals have the stated coverage."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, perfect, small_sets
from hypothesis import given, settings

from benchmarks.intervals import Scenario, coverage
from detect.evaluation.coco_metrics import score
from detect.evaluation.columns import evaluation_table
from detect.evaluation.half_samples import average_precisions, half_samples, matches_per_class, nan_mean
from detect.evaluation.intervals import (
    INTERVAL_METRICS,
    ap_intervals,
    bias_and_error,
    interval_of_difference,
    interval_of_fraction,
    rate_intervals,
    with_all_images,
)
from detect.evaluation.matching import match
from detect.evaluation.metrics_table import table
from detect.evaluation.overlaps import find_overlaps
from detect.evaluation.threshold_counts import Counts
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


def of_a_sample(records, found, kind: str, kept) -> dict[str, list[float]]:
    """AP and AP50 of the images where ``kept`` [I] is true, of all (``""``) and of each class; NaN for None."""
    columns = evaluation_table(records, found, SHAPES)
    matches = matches_per_class(columns, match(columns, find_overlaps(columns, kind), kind))
    values = average_precisions(matches, np.array([kept], bool))[:, :, 0]
    return {"": nan_mean(values).tolist(), **dict(zip(SHAPES.names, values.tolist(), strict=True))}


def of_coco(records, found, kind: str) -> dict[str, list[float]]:
    """The same by pycocotools."""
    metrics = score(records, found, SHAPES, evaluator="pycocotools")
    owners = {"": metrics, **metrics["classes"]}
    return {o: [math.nan if m[kind][n] is None else m[kind][n] for n in INTERVAL_METRICS] for o, m in owners.items()}


def assert_same(mine: dict[str, list[float]], cocos: dict[str, list[float]]) -> None:
    for owner, values in cocos.items():
        assert mine[owner] == pytest.approx(values, abs=1e-9, nan_ok=True), owner


def chosen(records, found, kept):
    return [records[i] for i in np.flatnonzero(kept)], [found[i] for i in np.flatnonzero(kept)]


# Metrics of a sample of the images


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_all_images_give_cocos_scores(kind):
    records, found = noisy_scene()
    assert_same(of_a_sample(records, found, kind, [True] * 8), of_coco(records, found, kind))


@settings(max_examples=40, deadline=None)
@given(small_sets())
def test_all_images_give_cocos_scores_on_random_small_sets(drawn_set):
    for kind in ("bbox", "segm"):
        assert_same(of_a_sample(*drawn_set, kind, [True] * len(drawn_set[0])), of_coco(*drawn_set, kind))


def test_detection_that_only_low_iou_thresholds_place_in_a_crowd_counts_at_the_others():
    records = [drawn(1, [[0, 0, 100, 100], [120, 10, 150, 50]], [1, 1], crowds=[0])]
    boxes = np.float32([[76, 60, 116, 100], [120, 10, 150, 50]])  # the first has 0.6 of its area in the crowd
    found = [Detections(HW, boxes, np.float32([0.9, 0.5]), np.array([1, 1]))]
    ap, ap50 = of_a_sample(records, found, "bbox", [True])["circle"]
    assert ap50 == pytest.approx(1) and ap == pytest.approx(0.3 * 1 + 0.7 * 0.5)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_half_scores_as_coco_scores_its_images(kind):
    records, found = noisy_scene()
    for kept in half_samples(8, 4, seed=1):
        assert_same(of_a_sample(records, found, kind, kept), of_coco(*chosen(records, found, kept), kind))


def test_class_without_objects_in_a_sample_is_skipped_in_the_mean():
    records, found = noisy_scene()
    kept = [2 not in record.labels for record in records]
    assert 0 < sum(kept) < 8
    mine = of_a_sample(records, found, "bbox", kept)
    assert np.isnan(mine["square"]).all() and not np.isnan(mine[""]).any()
    assert_same(mine, of_coco(*chosen(records, found, kept), "bbox"))
    assert np.isnan(of_a_sample(records, found, "bbox", [False] * 8)[""]).all()


# Half samples


def test_halves_complement_each_other_and_depend_only_on_the_seed():
    halves = half_samples(7, 60, seed=3)
    assert halves.shape == (120, 7) and (halves[::2] != halves[1::2]).all()
    assert (halves[::2].sum(axis=1) == 3).all() and len(np.unique(halves, axis=0)) > 30
    assert np.array_equal(halves, half_samples(7, 60, seed=3))
    assert not np.array_equal(halves, half_samples(7, 60, seed=4))


def test_error_of_a_mean_is_its_standard_error():
    sizes = np.random.default_rng(0).exponential(size=40)
    samples = with_all_images(half_samples(40, 4000, seed=0))
    bias, error = bias_and_error((samples @ sizes / samples.sum(axis=1))[None])
    assert abs(bias) < 0.1 * error and error == pytest.approx(sizes.std(ddof=1) / np.sqrt(40), rel=0.05)


def test_bias_that_falls_with_the_square_root_of_the_number_of_images_is_found():
    halves = np.full((1, 201), 0.3 + 0.1 * np.sqrt(2))  # 0.3 + 0.1 / sqrt(relative number of images)
    halves[0, 0] = 0.4
    assert bias_and_error(halves)[0] == pytest.approx(0.1)


# Intervals


def test_interval_contains_its_metric_and_is_narrower_with_more_images():
    records, found = noisy_scene()
    metrics, few = score(records, found, SHAPES), ap_intervals(records, found, SHAPES)
    many = ap_intervals(records * 9, found * 9, SHAPES)
    for kind in ("bbox", "segm"):
        for name in INTERVAL_METRICS:
            (low, high), (low_of_many, high_of_many) = few[kind][name], many[kind][name]
            assert 0 <= low < metrics[kind][name] < high <= 1
            assert (high_of_many - low_of_many) < 0.5 * (high - low)
    assert few == ap_intervals(records, found, SHAPES)
    assert json.loads(json.dumps(few))["bbox"]["AP"] == list(few["bbox"]["AP"])


def test_lower_confidence_gives_a_narrower_interval():
    (low, high), (lower, higher) = (
        ap_intervals(*noisy_scene(), SHAPES, confidence=c)["bbox"]["AP"] for c in (0.8, 0.95)
    )
    assert lower < low < high < higher


def test_interval_of_perfect_detections_allows_for_failures_that_so_few_images_do_not_show():
    records, _ = noisy_scene()
    found = ap_intervals(records, perfect(records), SHAPES)
    lowest = 0.025 ** (1 / 8)  # Clopper and Pearson's limit for 8 successes in 8 trials
    assert found["segm"]["AP"] == pytest.approx((lowest, 1))
    low, high = ap_intervals(records * 9, perfect(records) * 9, SHAPES)["segm"]["AP"]
    assert low == pytest.approx(0.025 ** (1 / 72)) and high == pytest.approx(1)


def test_interval_of_a_class_that_is_never_detected_does_not_exclude_that_it_sometimes_is():
    records, found = noisy_scene()
    without = [one[one.labels != 1] for one in found]
    low, high = ap_intervals(records, without, SHAPES)["classes"]["circle"]["bbox"]["AP50"]
    images = sum((record.labels[~record.iscrowd] == 1).any() for record in records)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / images))


def test_one_image_with_objects_gives_no_interval():
    records, found = noisy_scene()
    empty = drawn(9, [], [])
    alone = ap_intervals([records[0], empty], found[:2], SHAPES)
    assert alone["bbox"] == alone["segm"] == {"AP": None, "AP50": None}


def test_class_in_only_one_image_has_no_interval():
    records, found = noisy_scene()
    assert 2 in records[0].labels
    records = [records[0], *(drawn(r.image_id, r.boxes, np.where(r.labels == 2, 1, r.labels)) for r in records[1:])]
    found = ap_intervals(records, found, SHAPES)
    assert found["classes"]["square"]["bbox"] == {"AP": None, "AP50": None}
    assert found["bbox"]["AP"] is not None and found["classes"]["circle"]["bbox"]["AP"] is not None


def test_intervals_without_masks_are_of_boxes_only():
    records, found = noisy_scene()
    found = ap_intervals(records, [replace(one, masks=None) for one in found], SHAPES)
    assert "segm" not in found and set(found["classes"]["circle"]) == {"bbox"}


def test_interval_of_a_biased_metric_contains_it():
    values = np.random.default_rng(0).normal(0.5, 0.001, (1, 201))
    values[0, 0] = 0.4  # all halves are far better than the whole, as AP of noisy scores is
    low, high = interval_of_fraction(values, images=50)
    assert low < 0.2 and 0.4 <= high < 0.45
    low, high = interval_of_difference(values, images=50)
    assert low < 0.2 and high == pytest.approx(0.4)


def test_interval_of_a_difference_stays_within_a_change_of_100_points():
    values = np.tile([0.1, 1.0, -1.0], (1, 1))  # two halves that disagree completely
    assert interval_of_difference(values, images=2) == (-1.0, 1.0)


def test_precision_and_recall_at_a_threshold_have_intervals():
    rng = np.random.default_rng(0)
    found, wrong = rng.integers(0, 3, (60, 2)), rng.integers(0, 2, (60, 2))
    objects = found + 1
    found[:, 1] = wrong[:, 1] = 0  # of the second class nothing is detected
    mean, (first, second) = rate_intervals(Counts(found, wrong, objects))
    (low, high), true = first["precision"], found[:, 0].sum() / (found + wrong)[:, 0].sum()
    binomial = 1.96 * np.sqrt(true * (1 - true) / (found + wrong)[:, 0].sum())
    assert low < true < high and high - low == pytest.approx(2 * binomial, rel=0.4)
    assert second == {"precision": None, "recall": (0, pytest.approx(1 - 0.025 ** (1 / 60)))}
    assert mean["precision"] == pytest.approx(first["precision"]) and mean["recall"] is not None


@pytest.mark.parametrize("noisy", [False, True])
def test_intervals_of_50_images_contain_the_true_ap_about_as_often_as_stated(noisy):
    assert (coverage(Scenario(noisy=noisy), 50, 100)[0] >= 0.88).all()


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("count", [50, 200])
def test_95_percent_intervals_contain_the_true_ap_in_92_to_98_percent(count, classes, noisy):
    found, _ = coverage(Scenario(classes, noisy=noisy), count, 500)
    assert (found >= 0.92).all() and (found <= 0.98).all(), found


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [False, True])
def test_95_percent_intervals_of_13_images_contain_the_true_ap_in_over_90_percent(noisy):
    assert (coverage(Scenario(noisy=noisy), 13, 500)[0] >= 0.9).all()


# As text


def test_table_shows_and_explains_the_intervals():
    records, found = noisy_scene()
    metrics = score(records, found, SHAPES)
    plain = table(metrics).splitlines()
    metrics["intervals"] = ap_intervals(records, found, SHAPES)
    lines = table(metrics).splitlines()
    assert len({len(line) for line in lines[:3]}) == len({len(line) for line in lines[4:-2]}) == 1
    assert len(lines) == len(plain) + 2
    low, high = metrics["intervals"]["segm"]["AP50"]
    assert (
        lines[2].split()[:2] == plain[2].split()[:2]
        and f" {metrics['segm']['AP50']:.3f} [{low:.3f}, {high:.3f}] " in lines[2]
    )
    words = "\n".join(lines[-2:])
    assert words.startswith("[low, high]: 95 % interval from 1000 random halves of the 8 images")


def test_table_has_a_dash_for_an_interval_that_cannot_be_computed():
    records = [drawn(1, [[5, 5, 25, 25]], [1])]
    metrics = score(records, perfect(records), ClassNames(("balloon",)))
    metrics["intervals"] = ap_intervals(records, perfect(records), ClassNames(("balloon",)))
    _, row, _, words = table(metrics).splitlines()
    assert row.split()[:5] == ["bbox", "1.000", "-", "1.000", "-"]
    assert words == "no [low, high]: an interval needs two or more images with objects"
