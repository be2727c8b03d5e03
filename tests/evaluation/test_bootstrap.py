"""Bootstrap intervals: a resample scores as COCO scores its images, and intervals have the stated coverage."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.scenes import HW, SHAPES, drawn, noisy_scene, perfect, rectangle, small_sets
from hypothesis import given, settings

from detect.evaluation.bootstrap import (
    INTERVAL_METRICS,
    Matches,
    average_precisions,
    image_weights,
    intervals,
    match_detections,
    nan_mean,
)
from detect.evaluation.coco_metrics import score, table
from detect.evaluation.coco_rows import to_coco_rows
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


def of_a_resample(records, found, kind: str, weights) -> dict[str, list[float]]:
    """AP and AP50 with ``weights`` [I], of all (``""``) and of each class; NaN for None."""
    values = average_precisions(match_detections(to_coco_rows(records, found, SHAPES), kind), np.int64([weights]))[
        :, :, 0
    ]
    return {"": nan_mean(values).tolist(), **dict(zip(SHAPES.names, values.tolist(), strict=True))}


def of_coco(records, found, kind: str) -> dict[str, list[float]]:
    """The same by pycocotools."""
    metrics = score(records, found, SHAPES, evaluator="pycocotools")
    owners = {"": metrics, **metrics["classes"]}
    return {o: [math.nan if m[kind][n] is None else m[kind][n] for n in INTERVAL_METRICS] for o, m in owners.items()}


def assert_same(mine: dict[str, list[float]], cocos: dict[str, list[float]]) -> None:
    for owner, values in cocos.items():
        assert mine[owner] == pytest.approx(values, abs=1e-9, nan_ok=True), owner


def copies(records, found, weights):
    """Image i repeated ``weights[i]`` times."""
    chosen = np.repeat(np.arange(len(records)), weights)
    return [records[i] for i in chosen], [found[i] for i in chosen]


# Scores of a resample


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_weights_of_1_give_cocos_scores(kind):
    records, found = noisy_scene()
    assert_same(of_a_resample(records, found, kind, [1] * 8), of_coco(records, found, kind))


@settings(max_examples=40, deadline=None)
@given(small_sets())
def test_weights_of_1_give_cocos_scores_on_random_small_sets(drawn_set):
    for kind in ("bbox", "segm"):
        assert_same(of_a_resample(*drawn_set, kind, [1] * len(drawn_set[0])), of_coco(*drawn_set, kind))


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_resample_scores_as_coco_scores_copies_of_the_images(kind):
    records, found = noisy_scene()
    for weights in next(image_weights(8, 8, seed=1)):
        assert_same(of_a_resample(records, found, kind, weights), of_coco(*copies(records, found, weights), kind))


def test_class_without_objects_in_a_resample_is_skipped_in_the_mean():
    records, found = noisy_scene()
    weights = [int(2 not in record.labels) for record in records]
    assert 0 < sum(weights) < 8
    mine = of_a_resample(records, found, "bbox", weights)
    assert np.isnan(mine["square"]).all() and not np.isnan(mine[""]).any()
    assert_same(mine, of_coco(*copies(records, found, weights), "bbox"))
    assert np.isnan(of_a_resample(records, found, "bbox", [0] * 8)[""]).all()


def test_copies_of_a_detection_stay_together_among_equal_scores():
    records = [drawn(i, [[10, 10, 60, 60]], [1]) for i in range(4)]
    found = []
    for i in range(4):  # correct in images 0 and 3
        box = np.float32([[10, 10, 60, 60]]) + 40 * (i in (1, 2))
        found.append(Detections(HW, box, np.float32([0.5]), np.array([1]), [rectangle(box[0])]))
    for weights in ([1, 1, 1, 1], [0, 3, 0, 2], [2, 0, 1, 4], [0, 4, 0, 0]):
        assert_same(of_a_resample(records, found, "bbox", weights), of_coco(*copies(records, found, weights), "bbox"))


# Resamples


def test_resamples_have_the_number_of_images_and_depend_only_on_the_seed():
    drawn_weights = np.concatenate(list(image_weights(7, 120, seed=3)))
    assert drawn_weights.shape == (120, 7) and (drawn_weights.sum(axis=1) == 7).all()
    assert len(np.unique(drawn_weights, axis=0)) > 100
    assert np.array_equal(drawn_weights, np.concatenate(list(image_weights(7, 120, seed=3))))
    assert not np.array_equal(drawn_weights, np.concatenate(list(image_weights(7, 120, seed=4))))


# Intervals


def test_interval_contains_its_metric_and_is_narrower_with_more_images():
    records, found = noisy_scene()
    metrics, few = score(records, found, SHAPES), intervals(records, found, SHAPES)
    many = intervals(records * 9, found * 9, SHAPES)
    for kind in ("bbox", "segm"):
        for name in INTERVAL_METRICS:
            (low, high), (low_of_many, high_of_many) = few[kind][name], many[kind][name]
            assert 0 <= low < metrics[kind][name] < high <= 1
            assert (high_of_many - low_of_many) < 0.5 * (high - low)
    assert few == intervals(records, found, SHAPES)
    assert json.loads(json.dumps(few))["bbox"]["AP"] == list(few["bbox"]["AP"])


def test_lower_confidence_gives_a_narrower_interval():
    (low, high), (lower, higher) = (intervals(*noisy_scene(), SHAPES, confidence=c)["bbox"]["AP"] for c in (0.8, 0.95))
    assert lower < low < high < higher


def test_perfect_detections_have_an_interval_of_1_to_1():
    records, _ = noisy_scene()
    found = intervals(records, perfect(records), SHAPES)
    assert found["segm"]["AP"] == pytest.approx((1, 1)) and found["classes"]["circle"]["bbox"]["AP50"] == (1, 1)


def test_one_image_with_objects_gives_no_interval():
    records, found = noisy_scene()
    empty = drawn(9, [], [])
    alone = intervals([records[0], empty], found[:2], SHAPES)
    assert alone["bbox"] == alone["segm"] == {"AP": None, "AP50": None}


def test_class_in_only_one_image_has_no_interval():
    records, found = noisy_scene()
    assert 2 in records[0].labels
    records = [records[0], *(drawn(r.image_id, r.boxes, np.where(r.labels == 2, 1, r.labels)) for r in records[1:])]
    found = intervals(records, found, SHAPES)
    assert found["classes"]["square"]["bbox"] == {"AP": None, "AP50": None}
    assert found["bbox"]["AP"] is not None and found["classes"]["circle"]["bbox"]["AP"] is not None


def test_intervals_without_masks_are_of_boxes_only():
    records, found = noisy_scene()
    found = intervals(records, [replace(one, masks=None) for one in found], SHAPES)
    assert "segm" not in found and set(found["classes"]["circle"]) == {"bbox"}


def images_of_a_model(count: int, rng: np.random.Generator) -> Matches:
    """Simulated detections of one class in ``count`` images of different difficulty."""
    difficulty = rng.normal(0, 1, count)
    objects, wrong = rng.poisson(3, count), rng.poisson(2, count)
    quality = np.repeat(-0.7 * difficulty, objects) + rng.normal(1.2, 1, objects.sum())
    scores = np.concatenate([quality + rng.normal(0, 0.7, len(quality)), rng.normal(-0.6, 1.1, wrong.sum())])
    image = np.concatenate([np.repeat(np.arange(count), n) for n in (objects, wrong)])
    right = np.concatenate([quality > np.linspace(-0.3, 2.5, 10)[:, None], np.zeros((10, wrong.sum()), bool)], axis=1)
    order = np.argsort(-scores)
    return Matches(image[order], right[:, order], np.ones_like(right), objects)


@pytest.mark.parametrize(("count", "least"), [(13, 0.82), (50, 0.88)])
def test_coverage_of_the_intervals_is_close_to_the_stated_one(count, least):
    rng = np.random.default_rng(0)
    ground_truth = average_precisions([images_of_a_model(50_000, rng)], np.ones((1, 50_000), np.int64))[0, :, 0]
    contained = []
    for seed in range(150):
        model = images_of_a_model(count, rng)
        values = np.concatenate([average_precisions([model], w)[0] for w in image_weights(count, 300, seed)], axis=1)
        low, high = np.quantile(values, [0.025, 0.975], axis=1)
        contained.append((low <= ground_truth) & (ground_truth <= high))
    assert (least < np.mean(contained, axis=0)).all() and (np.mean(contained, axis=0) < 0.98).all()


# As text


def test_table_shows_and_explains_the_intervals():
    records, found = noisy_scene()
    metrics = score(records, found, SHAPES)
    plain = table(metrics).splitlines()
    metrics["intervals"] = intervals(records, found, SHAPES)
    lines = table(metrics).splitlines()
    assert len({len(line) for line in lines[:-2]}) == 1 and len(lines) == len(plain) + 2
    low, high = metrics["intervals"]["segm"]["AP50"]
    assert (
        lines[2].split()[:2] == plain[2].split()[:2]
        and f" {metrics['segm']['AP50']:.3f} [{low:.3f}, {high:.3f}] " in lines[2]
    )
    words = "\n".join(lines[-2:])
    assert words.startswith("[low, high]: 95 %") and "1000 resamples of the 8 images" in words


def test_table_has_a_dash_for_an_interval_that_cannot_be_computed():
    records = [drawn(1, [[5, 5, 25, 25]], [1])]
    metrics = score(records, perfect(records), ClassNames(("balloon",)))
    metrics["intervals"] = intervals(records, perfect(records), ClassNames(("balloon",)))
    _, row, _, words = table(metrics).splitlines()
    assert row.split()[:5] == ["bbox", "1.000", "-", "1.000", "-"]
    assert words == "no [low, high]: an interval needs two or more images with objects"
