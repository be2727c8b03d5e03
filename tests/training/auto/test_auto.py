"""Defaults that fit the data: each by its rule, at its edges, and with a reason that has the figures."""

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
from detect.training.auto.backbone import fit_frozen_stages, norms
from detect.training.auto.facts import Facts
from detect.training.auto.image_size import image_size
from detect.training.auto.rare_classes import repeat_threshold
from detect.training.auto.schedule import epochs, learning_rate, warmup_steps

HW = (600, 900)


def facts(sides: list[float], hw: tuple[int, int] = HW, labels: list[int] | None = None, images: int = 4) -> Facts:
    """Squares with these ``sides`` in px, dealt out over ``images`` of size ``hw``."""
    side = np.array(sides, float)
    return Facts(
        image_hw=np.array([hw] * images),
        boxes=np.stack([0 * side, 0 * side, side, side], axis=1),
        images=np.arange(len(side)) % images,
        labels=np.ones(len(side), np.int64) if labels is None else np.array(labels),
    )


# Facts


def table(crowds: list[bool]) -> Table:
    """One image with as many boxes, of the classes 1, 2, 1, 2, ..."""
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
def test_crowds_are_no_objects(crowds, counts):
    found = Facts.of(table(crowds))
    assert len(found.boxes) == len(found.labels) == len(found.images) == crowds.count(False)
    assert found.images_with(ClassNames(("a", "b"))) == dict(zip("ab", counts, strict=True))
    assert found.across.shape == (crowds.count(False),)
    assert image_size(found).value == 480


def test_an_image_with_many_objects_of_a_class_counts_once():
    found = facts([30] * 6, labels=[1, 1, 2, 1, 1, 1], images=2)
    assert found.images_with(ClassNames(("a", "b", "c"))) == {"a": 2, "b": 1, "c": 0}


def test_objects_are_measured_as_the_resized_image_shows_them():
    assert facts([60.0]).across[0] * 480 == pytest.approx(60 * 480 / 600)
    panorama = facts([60.0], hw=(600, 6000))  # whose long side is what limits it
    assert panorama.across[0] * 480 == pytest.approx(60 * int(480 * 1333 / 800) / 6000, rel=0.01)
    assert replace(panorama, image_hw=panorama.image_hw[:, ::-1]).across == pytest.approx(panorama.across)


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
def test_small_objects_ask_for_more_pixels_and_large_ones_for_less(side, hw, expected):
    choice = image_size(facts([side] * 8, hw=hw))
    assert choice.value == expected and "px across at that size" in choice.reason


def test_the_reason_has_the_size_of_the_small_ones_at_both_sizes():
    reason = image_size(facts([50] * 8, hw=(1200, 1800))).reason
    assert reason == "a tenth of the objects are under 32 px across at that size, 20 at 480"
    assert image_size(facts([15] * 8, hw=(400, 600))).reason.endswith("more would enlarge the images over 1.5 times")


def test_a_few_tiny_objects_change_nothing_but_a_class_of_them_does():
    sides = [8.0] * 5 + [60.0] * 95
    assert image_size(facts(sides)).value == 480
    assert image_size(facts(sides, labels=[2] * 5 + [1] * 95)).value == 800


@given(
    st.lists(st.tuples(st.floats(1, 500), st.integers(1, 4)), max_size=30),
    st.tuples(st.integers(8, 20_000), st.integers(8, 20_000)),
)
def test_any_data_gets_a_size_in_range(objects, hw):
    found = facts([side for side, _ in objects], hw=hw, labels=[label for _, label in objects])
    for default in (320, 480, 640):
        size = image_size(found, default).value
        assert size == default or (320 <= size <= 800 and size % 32 == 0)


# Schedule


@pytest.mark.parametrize(
    ("images", "batch_size", "expected", "why"),
    [
        (48, 2, 63, "1512 steps, 24 an epoch; a small set takes 1500 too"),
        (1, 2, 200, "200 steps, 1 an epoch; no image need be seen more often"),
        (205, 2, 20, "2060 steps, 103 an epoch"),
        (205, 16, 116, "1508 steps, 13 an epoch; a small set takes 1500 too"),
        (12_000, 2, 15, "90000 steps, 6000 an epoch; 12 epochs or 90000 steps do for a large set"),
        (118_000, 2, 12, "708000 steps, 59000 an epoch; 12 epochs or 90000 steps do for a large set"),
        (118_000, 16, 12, "88500 steps, 7375 an epoch; 12 epochs or 90000 steps do for a large set"),
    ],
)
def test_epochs_are_turned_into_steps(images, batch_size, expected, why):
    choice = epochs(images, batch_size, pretrained=True)
    assert (choice.value, choice.reason) == (expected, why)


@given(st.integers(1, 200_000), st.integers(1, 64))
def test_random_weights_take_three_times_as_long(images, batch_size):
    fine_tuned, from_random = (epochs(images, batch_size, pretrained=p).value for p in (True, False))
    assert 12 <= fine_tuned <= 200 and from_random == pytest.approx(3 * fine_tuned, abs=3)


@pytest.mark.parametrize(
    ("optimizer", "batch_size", "expected"),
    [
        *(("sgd", 1, 0.005), ("sgd", 2, 0.01), ("sgd", 4, 0.02), ("sgd", 8, 0.02), ("sgd", 16, 0.02)),
        *(("sgd", 32, 0.04), ("adamw", 1, 0.000141), ("adamw", 2, 0.0002), ("adamw", 8, 0.0004)),
    ],
)
def test_the_learning_rate_grows_with_the_batch(optimizer, batch_size, expected):
    choice = learning_rate(optimizer, batch_size)
    assert choice.value == pytest.approx(expected) and str(batch_size) in choice.reason


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_larger_batch_never_steps_less(optimizer):
    rates = [learning_rate(optimizer, n).value for n in range(1, 65)]
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("steps", "batch_size", "expected"),
    [(0, 2, 0), (9, 2, 0), (200, 2, 20), (999, 2, 99), (1000, 2, 100), (9000, 2, 100), (9000, 32, 500), (900, 32, 90)],
)
def test_a_tenth_of_a_short_training_is_warm_up(steps, batch_size, expected):
    assert warmup_steps(steps, batch_size).value == expected


# Backbone


@pytest.mark.parametrize(
    ("batch_size", "pretrained", "expected"), [(2, True, "frozen"), (15, True, "frozen"), (16, True, "batch")]
)
def test_norms_stay_frozen_at_small_batches(batch_size, pretrained, expected):
    assert norms(batch_size, pretrained=pretrained).value == expected


@given(st.integers(1, 512), st.integers(1, 100_000))
def test_nothing_random_is_ever_frozen(batch_size, images):
    assert norms(batch_size, pretrained=False).value == "batch"
    assert fit_frozen_stages(images, pretrained=False).value == 0


def test_a_small_set_leaves_the_first_stage_as_it_came():
    assert [fit_frozen_stages(n, pretrained=True).value for n in (1, 999, 1000)] == [1, 1, 0]
    assert fit_frozen_stages(10, pretrained=True, freezable=False).value == 0


# Rare classes


def test_no_class_is_rare_where_all_are_about_as_frequent():
    assert repeat_threshold({"a": 117, "b": 197, "c": 204}, 205).value == 0
    assert repeat_threshold({f"class {i}": 1 + i % 3 for i in range(80)}, 80).value == 0
    assert repeat_threshold({"a": 20_000, "b": 101, "c": 30_000}, 100_000).value == 0


def test_a_class_on_far_fewer_images_than_most_is_rare():
    choice = repeat_threshold({"car": 1000, "dog": 500, "cat": 80, "owl": 5, "emu": 0}, 1500)
    assert choice.value == pytest.approx(0.25 * 290 / 1500)
    assert choice.reason == (
        "owl, the rarest class, is on 5 of 1500 images, a typical one on 290: its images come 3.8 times an epoch"
    )


def test_on_a_hundred_images_of_very_many_a_class_is_frequent_as_in_lvis():
    assert repeat_threshold({"a": 90_000, "b": 60_000, "c": 25}, 100_000).value == pytest.approx(0.001)


@pytest.mark.parametrize("present", [{}, {"a": 0}, {"a": 3}, {"a": 3, "b": 0}])
def test_one_class_alone_is_not_rare(present):
    assert repeat_threshold(present, 50).value == 0
