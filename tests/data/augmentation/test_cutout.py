"""Cutout: rectangles of noise, and the ground truth without what they cover."""

from __future__ import annotations

import numpy as np
from helpers.rectangles import BACKGROUND, rectangles

from detect.data.augmentation.cutout import MAX_RECTANGLES, SIDES, cut_out


def test_noise_is_limited_in_size_and_is_removed_from_the_masks():
    fractions = []
    for seed in range(40):
        image, ground_truth = rectangles((BACKGROUND,), ((20, 10, 60, 50),))
        result, visible = cut_out(image, ground_truth, np.random.default_rng(seed))
        noisy = (result != BACKGROUND).any(axis=2)
        fractions.append(noisy.mean())
        assert not any((mask & noisy).any() for mask in visible.masks)
        assert (image == BACKGROUND).all(), "the given image stays unchanged"
        np.testing.assert_array_equal(ground_truth.masks[0], rectangles((0,), ((20, 10, 60, 50),))[1].masks[0])
    assert min(fractions) > 0 and max(fractions) < MAX_RECTANGLES * SIDES[1] ** 2 * 1.1 and len(set(fractions)) > 30
