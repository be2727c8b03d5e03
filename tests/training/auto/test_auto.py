"""Defaults fitted to the dataset: their values at the limits of the rules, and the numbers in their reasons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detect.data.columns import MaskBuilder, StringColumn
from detect.data.table import Table
from detect.structures.class_names import ClassNames
from detect.training.auto.backbone import fit_frozen_stages, fit_norm
from detect.training.auto.image_size import fit_image_size
from detect.training.auto.max_detections import fit_max_detections
from detect.training.auto.rare_classes import fit_repeat_threshold
from detect.training.auto.schedule import fit_epochs, fit_learning_rate, fit_warmup_steps
from detect.training.auto.statistics import DatasetStatistics

HW = (600, 900)


def squares(
    sides: list[float], hw: tuple[int, int] = HW, labels: list[int] | None = None, images: int = 4
) -> DatasetStatistics:
    """Return squares with these ``sides`` in pixels, distributed over ``images`` of size ``hw``."""
    side = np.array(sides, float)
    return DatasetStatistics(
        image_hw=np.array([hw] * images),
        boxes=np.stack([0 * side, 0 * side, side, side], axis=1),
        images=np.arange(len(side)) % images,
        labels=np.ones(len(side), np.int64) if labels is None else np.array(labels),
    )


# Statistics


def table(crowds: list[bool]) -> Table:
    """Return one image with boxes of the classes 1, 2, 1, 2, ..., and one without."""
    n = len(crowds)
    masks = MaskBuilder()
    for _ in crowds:
        masks.add(None)
    return Table(
        folder=Path(),
        names=StringColumn.of(["a.jpg", "b.jpg"]),
        sources=None,
        image_hw=np.array([HW, (900, 600)], np.int32),
        image_ids=np.arange(2),
        object_starts=np.array([0, n, n]),
        boxes=np.tile([10.0, 20.0, 50.0, 60.0], (n, 1)),
        labels=np.arange(n) % 2 + 1,
        areas=np.full(n, 1600.0),
        iscrowd=np.array(crowds, bool),
        annotation_ids=np.arange(n),
        numbers=np.arange(n),
        mask_rows=np.arange(n),
        masks=masks.finish(),
    )


@pytest.mark.parametrize(("crowds", "counts"), [([], (0, 0)), ([True] * 3, (0, 0)), ([False, True, False], (1, 0))])
def test_crowds_are_excluded(crowds, counts):
    found = DatasetStatistics.from_table(table(crowds))
    assert len(found.boxes) == len(found.labels) == len(found.images) == crowds.count(False)
    assert found.images_per_class(ClassNames(("a", "b"))) == dict(zip("ab", counts, strict=True))
    assert found.relative_sizes.shape == (crowds.count(False),)
    assert fit_image_size(found).value == 480


def test_an_image_with_several_objects_of_a_class_counts_once():
    found = squares([30] * 6, labels=[1, 1, 2, 1, 1, 1], images=2)
    assert found.images_per_class(ClassNames(("a", "b", "c"))) == {"a": 2, "b": 1, "c": 0}


def test_object_sizes_are_those_in_the_resized_image():
    assert squares([60.0]).relative_sizes[0] * 480 == pytest.approx(60 * 480 / 600)
    panorama = squares([60.0], hw=(600, 6000))  # whose long side is what limits it
    assert panorama.relative_sizes[0] * 480 == pytest.approx(60 * int(480 * 1333 / 800) / 6000, rel=0.01)
    assert replace(panorama, image_hw=panorama.image_hw[:, ::-1]).relative_sizes == pytest.approx(
        panorama.relative_sizes
    )


# Image size


@pytest.mark.parametrize(
    ("side", "hw", "expected"),
    [
        (50, (1200, 1800), 768),  # 20 px at 480
        (20, (1200, 1800), 800),  # 8 px at 480
        (61, (1200, 1800), 480),  # 24.4 px at 480
        (155, (1200, 1800), 480),  # 62 px at 480
        (200, (1200, 1800), 384),  # 80 px at 480
        (600, (1200, 1800), 320),
        (20, (600, 900), 800),  # 16 px at 480
        (15, (400, 600), 576),  # 18 px at 480; 800 would double the images
        (6, (200, 300), 320),
        (190, (200, 300), 320),
        (20, (600, 9000), 800),
    ],
)
def test_small_objects_get_larger_images_and_large_objects_smaller_ones(side, hw, expected):
    choice = fit_image_size(squares([side] * 8, hw=hw))
    assert choice.value == expected and "px at that size" in choice.reason


def test_the_reason_has_the_size_of_small_objects_at_both_image_sizes():
    reason = fit_image_size(squares([50] * 8, hw=(1200, 1800))).reason
    assert reason == "a tenth of the objects is smaller than 32 px at that size, 20 px at 480"
    assert "enlarge the images by more than 1.5" in fit_image_size(squares([15] * 8, hw=(400, 600))).reason


def test_few_tiny_objects_are_ignored_unless_they_are_a_class():
    sides = [8.0] * 5 + [60.0] * 95
    assert fit_image_size(squares(sides)).value == 480
    assert fit_image_size(squares(sides, labels=[2] * 5 + [1] * 95)).value == 800


@given(
    st.lists(st.tuples(st.floats(1, 500), st.integers(1, 4)), max_size=30),
    st.tuples(st.integers(8, 20_000), st.integers(8, 20_000)),
)
def test_every_dataset_gets_a_size_in_range(objects, hw):
    found = squares([side for side, _ in objects], hw=hw, labels=[label for _, label in objects])
    for default in (320, 480, 640):
        size = fit_image_size(found, default).value
        assert size == default or (320 <= size <= 800 and size % 32 == 0)


# Maximum number of detections


@pytest.mark.parametrize(
    ("objects", "default", "expected"),
    [
        *((0, 100, 100), (1, 100, 100), (80, 100, 100), (81, 100, 150), (120, 100, 150), (156, 100, 200)),
        *((400, 100, 500), (156, 300, 300), (300, 300, 400), (20_000, 100, 10_000)),
    ],
)
def test_more_detections_than_usual_are_for_images_with_more_objects(objects, default, expected):
    crowded = replace(squares([30.0] * (objects + 3)), images=np.array([0] * objects + [1, 2, 3]))
    choice = fit_max_detections(crowded, default)
    assert choice.value == expected and (not objects or f"has {objects} object" in choice.reason)


def test_crowds_do_not_count_as_detections():
    assert fit_max_detections(DatasetStatistics.from_table(table([True] * 500)), 100).value == 100
    assert fit_max_detections(DatasetStatistics.from_table(table([False] * 500)), 100).value == 650


# Schedule


@pytest.mark.parametrize(
    ("images", "batch_size", "expected", "why"),
    [
        (48, 2, 63, "1512 steps, 24 per epoch; even a small dataset needs 1500 steps"),
        (1, 2, 200, "200 steps, 1 per epoch; more than 200 epochs do not help"),
        (205, 2, 20, "2060 steps, 103 per epoch"),
        (205, 16, 116, "1508 steps, 13 per epoch; even a small dataset needs 1500 steps"),
        (12_000, 2, 15, "90000 steps, 6000 per epoch; 12 epochs or 90000 steps suffice for a large dataset"),
        (118_000, 2, 12, "708000 steps, 59000 per epoch; 12 epochs or 90000 steps suffice for a large dataset"),
        (118_000, 16, 12, "88500 steps, 7375 per epoch; 12 epochs or 90000 steps suffice for a large dataset"),
    ],
)
def test_epochs_follow_from_the_number_of_steps(images, batch_size, expected, why):
    choice = fit_epochs(images, batch_size, pretrained=True)
    assert (choice.value, choice.reason) == (expected, why)


@given(st.integers(1, 200_000), st.integers(1, 64))
def test_random_weights_need_three_times_the_epochs(images, batch_size):
    fine_tuned, from_random = (fit_epochs(images, batch_size, pretrained=p).value for p in (True, False))
    assert 12 <= fine_tuned <= 200 and from_random == pytest.approx(3 * fine_tuned, abs=3)


@pytest.mark.parametrize(
    ("optimizer", "batch_size", "expected"),
    [
        *(("sgd", 1, 0.005), ("sgd", 2, 0.01), ("sgd", 4, 0.02), ("sgd", 8, 0.02), ("sgd", 16, 0.02)),
        *(("sgd", 32, 0.04), ("adamw", 1, 0.000141), ("adamw", 2, 0.0002), ("adamw", 8, 0.0004)),
    ],
)
def test_the_learning_rate_grows_with_the_images_per_step(optimizer, batch_size, expected):
    choice = fit_learning_rate(optimizer, batch_size)
    assert choice.value == pytest.approx(expected) and str(batch_size) in choice.reason


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_more_images_per_step_never_lower_the_learning_rate(optimizer):
    rates = [fit_learning_rate(optimizer, n).value for n in range(1, 65)]
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("steps", "batch_size", "expected"),
    [(0, 2, 0), (9, 2, 0), (200, 2, 20), (999, 2, 99), (1000, 2, 100), (9000, 2, 100), (9000, 32, 500), (900, 32, 90)],
)
def test_warm_up_is_a_tenth_of_a_short_training(steps, batch_size, expected):
    assert fit_warmup_steps(steps, batch_size).value == expected


# Backbone


@pytest.mark.parametrize(
    ("batch_size", "pretrained", "expected"), [(2, True, "frozen"), (15, True, "frozen"), (16, True, "batch")]
)
def test_norms_are_frozen_for_small_batches(batch_size, pretrained, expected):
    assert fit_norm(batch_size, pretrained=pretrained).value == expected


@given(st.integers(1, 512), st.integers(1, 100_000))
def test_random_weights_are_never_frozen(batch_size, images):
    assert fit_norm(batch_size, pretrained=False).value == "batch"
    assert fit_frozen_stages(images, pretrained=False).value == 0


def test_a_small_dataset_freezes_the_first_stage():
    assert [fit_frozen_stages(n, pretrained=True).value for n in (1, 999, 1000)] == [1, 1, 0]
    assert fit_frozen_stages(10, pretrained=True, freezable=False).value == 0


# Rare classes


def test_no_class_is_rare_if_all_are_similarly_frequent():
    assert fit_repeat_threshold({"a": 117, "b": 197, "c": 204}, 205).value == 0
    assert fit_repeat_threshold({f"class {i}": 1 + i % 3 for i in range(80)}, 80).value == 0
    assert fit_repeat_threshold({"a": 20_000, "b": 101, "c": 30_000}, 100_000).value == 0


def test_a_class_on_far_fewer_images_than_the_median_is_rare():
    choice = fit_repeat_threshold({"car": 1000, "dog": 500, "cat": 80, "owl": 5, "emu": 0}, 1500)
    assert choice.value == pytest.approx(0.25 * 290 / 1500)
    assert "owl is on 5 of 1500 images" in choice.reason and "on 290" in choice.reason
    assert "3.8 times per epoch" in choice.reason


def test_a_class_on_a_hundred_images_of_a_large_dataset_is_frequent():
    assert fit_repeat_threshold({"a": 90_000, "b": 60_000, "c": 25}, 100_000).value == pytest.approx(0.001)


@pytest.mark.parametrize("present", [{}, {"a": 0}, {"a": 3}, {"a": 3, "b": 0}])
def test_a_single_class_is_not_rare(present):
    assert fit_repeat_threshold(present, 50).value == 0
