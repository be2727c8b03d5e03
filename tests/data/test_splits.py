"""Random splits: fractions, classes, groups that stay together, reproducibility."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detect.data.splits import SPLIT_FRACTIONS, split_at_random, split_from_path


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/_annotations.coco.json", "train"),
        ("annotations/instances_val2017.json", "val"),
        ("Validation", "val"),
        ("valid/labels", "val"),
        ("my_test-set.csv", "test"),
        ("trainval.txt", "train"),
        ("test/train.json", "train"),  # the last part that names a split
        ("train_test.json", None),
        ("trains/latest/evaluation", None),
        ("a/b.json", None),
    ],
)
def test_split_is_read_from_names_of_files_and_folders(path, split):
    assert split_from_path(PurePosixPath(path)) == split


@st.composite
def sets(draw):
    n, k = draw(st.integers(2, 60)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.poisson(0.7, (n, k)), rng.integers(0, draw(st.integers(1, n)), n)


@given(sets())
def test_groups_stay_together_and_no_split_is_empty_if_possible(given_set):
    counts, groups = given_set
    split = split_at_random(counts, groups, SPLIT_FRACTIONS)
    assert set(split.tolist()) <= {0, 1, 2}
    for group in np.unique(groups):
        assert len(np.unique(split[groups == group])) == 1
    assert len(np.unique(split)) == min(3, len(np.unique(groups)))
    assert np.array_equal(split, split_at_random(counts, groups, SPLIT_FRACTIONS))


def test_each_split_has_its_fraction_of_images_and_of_each_class():
    rng = np.random.default_rng(3)
    counts = (rng.random((400, 4)) < [0.9, 0.3, 0.1, 0.03]).astype(int)
    split = split_at_random(counts, np.arange(400), SPLIT_FRACTIONS)
    assert np.abs(np.bincount(split) - 400 * np.array(list(SPLIT_FRACTIONS.values()))).max() <= 8
    for of_class in counts.T:
        shown = np.bincount(split, of_class, minlength=3)
        assert np.abs(shown - of_class.sum() * np.array(list(SPLIT_FRACTIONS.values()))).max() <= 2


def test_seeds_give_different_splits():
    counts, groups = np.ones((40, 1), int), np.arange(40)
    assert not np.array_equal(
        split_at_random(counts, groups, SPLIT_FRACTIONS, 0), split_at_random(counts, groups, SPLIT_FRACTIONS, 1)
    )
