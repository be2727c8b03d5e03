"""Dealing out images: shares, classes, groups that stay together, and the same result every time."""

from __future__ import annotations

from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
from helpers.folders import SHARED
from hypothesis import given
from hypothesis import strategies as st

from detect.data.quality.near_duplicates import group_near_duplicates, nearest, signatures
from detect.data.splits import SPLIT_FRACTIONS, split_at_random, split_from_path
from detect.media.fingerprint import SIDE, look
from detect.media.images import read_image

QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 30]
DATA = SHARED / "data"


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/_annotations.coco.json", "train"),
        ("annotations/instances_val2017.json", "val"),
        ("Validation", "val"),
        ("valid/labels", "val"),
        ("my_test-set.csv", "test"),
        ("trainval.txt", "train"),
        ("test/train.json", "train"),  # the last part that tells
        ("train_test.json", None),
        ("trains/latest/evaluation", None),
        ("a/b.json", None),
    ],
)
def test_names_of_files_and_folders_tell_splits(path, split):
    assert split_from_path(PurePosixPath(path)) == split


@st.composite
def sets(draw):
    n, k = draw(st.integers(2, 60)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.poisson(0.7, (n, k)), rng.integers(0, draw(st.integers(1, n)), n)


@given(sets())
def test_groups_stay_together_and_no_split_is_empty_without_need(given_set):
    counts, groups = given_set
    split = split_at_random(counts, groups, SPLIT_FRACTIONS)
    assert set(split.tolist()) <= {0, 1, 2}
    for group in np.unique(groups):
        assert len(np.unique(split[groups == group])) == 1
    assert len(np.unique(split)) == min(3, len(np.unique(groups)))
    assert np.array_equal(split, split_at_random(counts, groups, SPLIT_FRACTIONS))


def test_each_split_has_its_share_of_images_and_of_each_class():
    rng = np.random.default_rng(3)
    counts = (rng.random((400, 4)) < [0.9, 0.3, 0.1, 0.03]).astype(int)
    split = split_at_random(counts, np.arange(400), SPLIT_FRACTIONS)
    assert np.abs(np.bincount(split) - 400 * np.array(list(SPLIT_FRACTIONS.values()))).max() <= 8
    for of_class in counts.T:
        shown = np.bincount(split, of_class, minlength=3)
        assert np.abs(shown - of_class.sum() * np.array(list(SPLIT_FRACTIONS.values()))).max() <= 2


def test_another_seed_deals_another_way():
    counts, groups = np.ones((40, 1), int), np.arange(40)
    assert not np.array_equal(split_at_random(counts, groups, SPLIT_FRACTIONS, 0), split_at_random(counts, groups, SPLIT_FRACTIONS, 1))


def thumbnails(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


def test_lighter_copies_are_alike_and_others_are_not():
    images = thumbnails(5)
    lighter = np.clip(images[:2].astype(int) * 0.8 + 30, 0, 255).astype(np.uint8)
    groups, least = group_near_duplicates(signatures(np.concatenate([images, lighter])), largest=0.5)
    assert least == 0.95
    assert groups[5] == groups[0] and groups[6] == groups[1] and len(set(groups.tolist())) == 5
    every = signatures(np.concatenate([images, lighter]))
    best, score = nearest(every)
    assert best[5:].tolist() == [0, 1] and score[5:].min() > 0.99 and best[0] == -1
    assert score[:5].max() < 0.5
    best, score = nearest(every[5:], every[:5])
    assert best.tolist() == [0, 1] and score.min() > 0.99
    assert nearest(every, every[:0])[0].tolist() == [-1] * 7


def test_images_of_one_color_are_like_nothing():
    plain = np.full((3, 16, 16, 3), [[[[5]]], [[[5]]], [[[200]]]], np.uint8)
    assert len(set(group_near_duplicates(signatures(plain))[0].tolist())) == 3


def test_frames_of_a_fixed_camera_are_told_apart_by_more():
    """Every frame is like every other; only those that hardly differ may count as one."""
    rng = np.random.default_rng(1)
    still = rng.integers(0, 256, (16, 16, 3)).astype(float)
    frames = np.repeat(still[None], 20, axis=0)
    for i in range(20):
        frames[i, :4, :4] = rng.integers(0, 256, (4, 4, 3))
    frames[1] = frames[0] + 1
    groups, least = group_near_duplicates(signatures(frames.clip(0, 255).astype(np.uint8)))
    assert least > 0.95 and groups[0] == groups[1] and len(set(groups.tolist())) >= 15


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real datasets are not there")
def test_of_real_photographs_copies_are_alike_and_others_are_not():
    """But for two images of the same cells in BCCD, which are."""
    patterns = ("bccd/BCCD/JPEGImages/*.jpg", "balloon/*/*.jpg", "coco_tiny80/*2017/*.jpg")
    paths = [path for pattern in patterns for path in sorted(DATA.glob(pattern))]
    noise = np.random.default_rng(0)
    copies: dict[str, list[np.ndarray]] = {"again": [], "half": [], "lighter": [], "noisy": []}
    for path in paths:
        pixels = read_image(path)
        again = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], QUALITY)[1], cv2.IMREAD_COLOR)[..., ::-1]
        half = cv2.resize(pixels, None, fx=0.5, fy=0.5)
        noisy = pixels + noise.normal(0, 10, pixels.shape)
        for name, made in (("again", again), ("half", half), ("lighter", pixels * 1.2), ("noisy", noisy)):
            small = cv2.resize(np.clip(made, 0, 255).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            copies[name].append(small)
    sketches = signatures(np.stack([look(path).thumbnail for path in paths]))
    likeness = np.concatenate([(sketches * signatures(np.stack(made))).sum(axis=1) for made in copies.values()])
    assert len(paths) == 598 and likeness.min() >= 0.952 and (likeness < 0.98).sum() <= 5
    best, score = nearest(sketches)
    (same,) = np.flatnonzero(score > 0.835)
    assert {paths[same].stem, paths[best[same]].stem} == {"BloodImage_00037", "BloodImage_00038"}
