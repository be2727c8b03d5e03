"""Sampling: how often images are used per epoch, and which share a batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detect.data.sampling import limit_backgrounds, repeat_factors, sample_epoch, similar_size_batches

SIDES = st.integers(1, 4000)
IMAGES = st.lists(st.tuples(SIDES, SIDES), min_size=0, max_size=60)


def batches(sizes, batch_size=2, *, seed=0, epoch=0, repeats=None) -> list[list[int]]:
    """Return the batches of an epoch, as the loader does."""
    sizes = np.array(sizes, float).reshape(-1, 2)
    rng = np.random.default_rng([seed, epoch])
    numbers = sample_epoch(len(sizes), rng, repeats)
    of_numbers = sizes[numbers % max(1, len(sizes))]
    return similar_size_batches(numbers, of_numbers, batch_size, rng)


def flat(lists) -> list[int]:
    return [number for one in lists for number in one]


@given(IMAGES, st.integers(1, 9), st.integers(0, 5))
def test_every_image_is_used_once_and_only_the_last_batch_is_smaller(sizes, batch_size, epoch):
    found = batches(sizes, batch_size, epoch=epoch)
    assert sorted(flat(found)) == list(range(len(sizes)))
    assert all(len(batch) == batch_size for batch in found[:-1])
    assert len(found) == -(-len(sizes) // batch_size)


@given(st.lists(st.floats(1, 6), min_size=1, max_size=40), st.integers(0, 20))
def test_image_is_used_as_often_as_its_factor_with_a_new_number_each_time(factors, epoch):
    numbers = sample_epoch(len(factors), np.random.default_rng(epoch), np.array(factors))
    assert len(set(numbers.tolist())) == len(numbers)
    times = np.bincount(numbers % len(factors), minlength=len(factors))
    assert (np.floor(factors) <= times).all() and (times <= np.ceil(factors)).all()
    for image, count in enumerate(times.tolist()):
        again = sorted((numbers[numbers % len(factors) == image] // len(factors)).tolist())
        assert again == list(range(count))


def test_fractional_part_of_a_factor_is_drawn_in_each_epoch():
    counts = [len(sample_epoch(100, np.random.default_rng(e), np.full(100, 1.25))) for e in range(200)]
    assert np.mean(counts) == pytest.approx(125, abs=1.5) and len(set(counts)) > 5


def test_epoch_depends_only_on_seed_and_number():
    sizes = np.random.default_rng(0).integers(100, 900, (30, 2))
    assert batches(sizes, epoch=3) == batches(sizes, epoch=3)
    found = [str(batches(sizes, epoch=epoch, seed=seed)) for epoch in range(3) for seed in range(3)]
    assert len(set(found)) == 9


def padded(sizes: np.ndarray, found: list[list[int]]) -> float:
    """Return the pixels of all batches, each padded to its largest height and width."""
    return sum(float(sizes[batch].max(axis=0).prod()) * len(batch) for batch in found)


def landscapes_and_portraits(count: int) -> np.ndarray:
    """Return the (height, width) of images with a short side of 480 and various aspect ratios."""
    long = np.random.default_rng(1).integers(480, 800, count)
    return np.stack([np.where(np.arange(count) % 3, 480, long), np.where(np.arange(count) % 3, long, 480)], axis=1)


@pytest.mark.parametrize("batch_size", [2, 4, 8])
def test_images_of_similar_size_share_a_batch(batch_size):
    sizes = landscapes_and_portraits(96)
    alone = padded(sizes, [[i] for i in range(96)])
    at_random = np.random.default_rng(2).permutation(96).reshape(-1, batch_size).tolist()
    waste = np.mean([padded(sizes, batches(sizes, batch_size, epoch=e)) for e in range(10)]) / alone - 1
    assert waste < 0.4 * (padded(sizes, at_random) / alone - 1)


def test_batches_and_the_last_one_vary_between_epochs():
    sizes = landscapes_and_portraits(48)[:47]
    pairs, last = Counter(), Counter()
    for epoch in range(60):
        found = batches(sizes, 2, epoch=epoch)
        pairs.update(frozenset(batch) for batch in found)
        last.update(found[-1])
    assert max(pairs.values()) < 30 and max(last.values()) < 10


@pytest.mark.parametrize("count", [0, 1, 2])
def test_very_few_images_are_all_used(count):
    sizes = np.full((count, 2), 100)
    assert sorted(flat(batches(sizes, 8))) == list(range(count))


# Repeat factors


def factors(labels_of_images: list[set[int]], threshold: float) -> np.ndarray:
    pairs = [(image, label) for image, labels in enumerate(labels_of_images) for label in sorted(labels)]
    images, labels = np.array(pairs, np.int64).reshape(-1, 2).T
    return repeat_factors(images, labels, len(labels_of_images), threshold)


def test_factor_of_an_image_is_that_of_its_rarest_class():
    found = factors([{1}] * 12 + [{1, 3}, {3}, set(), {1, 2, 3}], 0.25)  # 2 on 1 of 16 images, 3 on 3 of them
    assert found == pytest.approx([1] * 12 + [np.sqrt(0.25 / (3 / 16))] * 2 + [1, 2])


def test_number_of_objects_on_an_image_does_not_change_its_factor():
    one, many = (repeat_factors(np.zeros(n, int), np.full(n, 5), 100, 0.04) for n in (1, 40))
    assert one.tolist() == many.tolist() == [2.0] + [1.0] * 99


@given(st.lists(st.sets(st.integers(1, 6)), max_size=40), st.floats(0, 1))
def test_factors_are_at_least_one_and_never_smaller_for_a_rarer_class(images, threshold):
    found = factors(images, threshold)
    assert found.shape == (len(images),) and (found >= 1).all()
    fraction = {label: sum(label in one for one in images) / len(images) for label in set().union(*images)}
    for labels, factor in zip(images, found, strict=True):
        rarest = min((fraction[label] for label in labels), default=1.0)
        assert factor == pytest.approx(max(1.0, np.sqrt(threshold / rarest)))


def test_threshold_zero_repeats_nothing():
    assert factors([{1}, {1, 2}, set()], 0.0).tolist() == [1, 1, 1]


# Backgrounds


def test_backgrounds_are_limited_to_a_multiple_of_the_other_images():
    objects = np.array([0, 0, 1])  # images 2 to 9 are backgrounds
    found = limit_backgrounds(None, objects, 10, 1.5)
    assert found == pytest.approx([1, 1] + [3 / 8] * 8)
    assert limit_backgrounds(None, objects, 10, 100) == pytest.approx(np.ones(10))
    assert limit_backgrounds(np.array([4.0, 2, *[1] * 8]), objects, 10, 1)[2:].sum() == pytest.approx(6)
    assert limit_backgrounds(None, objects, 10, 0).tolist() == [1, 1, *[0] * 8]


def test_other_backgrounds_are_used_in_each_epoch():
    limited = limit_backgrounds(None, np.array([0]), 40, 4)
    epochs = [sample_epoch(40, np.random.default_rng(epoch), limited) for epoch in range(60)]
    assert all(0 in epoch and len(epoch) == len(set(epoch.tolist())) for epoch in epochs)
    assert set(np.concatenate(epochs).tolist()) == set(range(40))
    assert np.mean([len(epoch) for epoch in epochs]) == pytest.approx(5, abs=0.8)
