"""Anchors fitted to the objects: coverage as in the model, and the default ones kept if they are good enough."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detect.models.anchors import ASPECT_RATIOS, AnchorGrid, anchor_recall, anchor_sizes
from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.structures.image_record import ImageRecord
from detect.text import counted
from detect.training.auto.anchors import Anchors, Coverage, anchor_coverage, fit_anchors, scale_objects
from detect.training.auto.statistics import DatasetStatistics

HW = (480, 700)
IMGSZ = 480


def statistics_of(
    widths: np.ndarray, heights: np.ndarray, hw: tuple[int, int] = HW, seed: int = 0
) -> DatasetStatistics:
    """Return one object per image, at a random position."""
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0, np.maximum(side - size, 0)) for side, size in ((hw[1], widths), (hw[0], heights)))
    n = len(widths)
    boxes = np.stack([x, y, x + widths, y + heights], axis=1)
    return DatasetStatistics(np.array([hw] * n).reshape(-1, 2), boxes, np.arange(n), np.ones(n, np.int64))


def sizes(low: float, high: float, count: int = 300, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), count))


def coverage(some: DatasetStatistics, imgsz: int, anchors: Anchors) -> Coverage:
    return anchor_coverage(*scale_objects(some, imgsz, (1.0, 1.0)), anchors)


def default() -> Anchors:
    return Anchors(anchor_sizes(IMGSZ), ASPECT_RATIOS)


@pytest.mark.parametrize("hw", [HW, (1000, 700), (300, 1500)])
def test_the_recall_equals_that_of_the_model(hw):
    side = sizes(8, 250)
    found = statistics_of(side * sizes(0.6, 1.7, seed=1), side, hw, seed=2)
    for fitted in (default(), Anchors(anchor_sizes(IMGSZ, octave_shift=-1, sizes_per_octave=3), (0.3, 1.5))):
        architecture = backbone_architecture("mobilenet_v2", "fasterrcnn", IMGSZ)
        model = build(replace(architecture, anchors=fitted.sizes, aspect_ratios=fitted.aspect_ratios), 2)
        with torch.inference_mode():
            expected = anchor_recall(AnchorGrid.of(model), [record(found, i) for i in range(100)], IMGSZ)
        some = replace(found, boxes=found.boxes[:100], images=found.images[:100])
        assert coverage(some, IMGSZ, fitted).recall == pytest.approx(expected, abs=0.011)


def record(statistics: DatasetStatistics, i: int) -> ImageRecord:
    boxes = statistics.boxes[i : i + 1].astype(np.float32)
    hw = tuple(statistics.image_hw[i].tolist())
    return ImageRecord(Path("x.jpg"), hw, i, boxes, np.ones(1, int), np.ones(1), np.zeros(1, bool), np.ones(1, int))


@pytest.mark.parametrize(
    ("low", "high", "ratio"), [(6, 14, 1.0), (40, 90, 6.0), (40, 90, 1 / 7), (20, 60, 0.05)], ids=str
)
def test_unusual_objects_get_fitted_anchors(low, high, ratio):
    side = sizes(low, high)
    found = statistics_of(side / ratio**0.5, side * ratio**0.5)
    choice = fit_anchors(found, IMGSZ)
    before, after = coverage(found, IMGSZ, default()), coverage(found, IMGSZ, choice.value)
    assert after.recall > before.recall + 0.1
    assert f"reach {after.recall:.1%} of the objects at IoU 0.5 (default anchors {before.recall:.1%})" in choice.reason


def test_usual_objects_keep_the_default_anchors():
    side = sizes(30, 300)
    choice = fit_anchors(statistics_of(side * sizes(0.8, 1.25, seed=1), side), IMGSZ, (0.6, 1.25))
    assert choice.value == default()
    assert choice.reason.startswith("the default anchors, sizes 19 to 434 px, aspect ratios 0.5, 1, 2, reach 100.0%")


@pytest.mark.parametrize("count", [0, 1, 99])
def test_too_few_objects_keep_the_default_anchors(count):
    tiny = np.full(count, 5.0)
    choice = fit_anchors(statistics_of(tiny, tiny), IMGSZ)
    assert choice.value == default() and f"{counted(count, 'object')} are too few" in choice.reason
    assert coverage(statistics_of(tiny[:0], tiny[:0]), IMGSZ, default()).recall == 1.0


def test_the_jitter_range_is_taken_into_account():
    side = sizes(25, 30)
    assert fit_anchors(statistics_of(side, side), IMGSZ).value == default()
    assert fit_anchors(statistics_of(side, side), IMGSZ, (0.3, 1.0)).value.sizes[0][0] < default().sizes[0][0]


def test_a_model_with_fitted_anchors_trains():
    side = sizes(6, 14)
    fitted = fit_anchors(statistics_of(side * 2, side / 2), IMGSZ).value
    architecture = backbone_architecture("mobilenet_v2", "fasterrcnn", IMGSZ)
    model = build(replace(architecture, anchors=fitted.sizes, aspect_ratios=fitted.aspect_ratios), 2)
    target = {"boxes": torch.tensor([[5.0, 5.0, 25.0, 12.0]]), "labels": torch.tensor([1])}
    losses = model.train()([torch.rand(3, 64, 96)], [target])
    assert all(torch.isfinite(loss) for loss in losses.values())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 3000), st.floats(0.5, 3000)), min_size=100, max_size=110),
    st.sampled_from([(480, 700), (100, 9000), (3000, 3000)]),
)
def test_any_boxes_get_at_most_six_anchors_per_location_of_at_least_four_pixels(wh, hw):
    width, height = np.array(wh).T
    choice = fit_anchors(statistics_of(np.minimum(width, hw[1]), np.minimum(height, hw[0]), hw), 320, (0.6, 1.25))
    levels, ratios = choice.value
    assert len(levels) == 5 and all(len(level) * len(ratios) <= 6 for level in levels)
    assert all(len(level) == len(levels[0]) for level in levels)
    assert levels[0][0] * min(min(r, 1 / r) for r in ratios) ** 0.5 >= 4


def test_fitting_anchors_takes_a_sample_of_many_boxes():
    side = sizes(4, 400, 100_000)
    found = statistics_of(side * sizes(0.2, 5, 100_000, seed=3), side)
    start = time.process_time()
    fit_anchors(found, IMGSZ, (0.6, 1.25))
    assert time.process_time() - start < 5  # under 2 on a machine of its own
