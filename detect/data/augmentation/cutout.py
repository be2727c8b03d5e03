"""Cutout: rectangles of noise over an image, so that a detector learns more than one part of an object."""

from __future__ import annotations

import numpy as np

from detect.data.augmentation.ground_truth import GroundTruth, cover
from detect.data.augmentation.transform import Another, Transform

MAX_RECTANGLES = 4
SIDES = 0.05, 0.25  # range of a rectangle's sides as fractions of the image's


class Cutout(Transform):
    """Covers an image with one to MAX_RECTANGLES rectangles of noise, with the probability ``strength``."""

    def __call__(
        self, image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator, another: Another | None
    ) -> tuple[np.ndarray, GroundTruth]:
        # Drawn at probability 0 too, unlike in other transforms: the images of existing runs depend on this draw.
        if rng.random() < self.strength:
            return cut_out(image, ground_truth, rng)
        return image, ground_truth


def cut_out(image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator) -> tuple[np.ndarray, GroundTruth]:
    """Return ``image``, uint8 RGB [H, W, 3], with rectangles of noise, and the ground truth that stays visible.

    This is Cutout (DeVries and Taylor, https://arxiv.org/abs/1708.04552), but each covered pixel gets a random color,
    which worked best in Random Erasing (Zhong et al., https://arxiv.org/abs/1708.04896). Both papers leave boxes
    unchanged. Here covered pixels are removed from boxes and masks, since COCO annotates the visible part of an
    object. (CoarseDropout of albumentations would round all boxes to whole pixels and ignore the masks.)
    """
    height, width = image.shape[:2]
    image, covered = image.copy(), np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, MAX_RECTANGLES + 1))):
        h, w = (max(1, round(side * rng.uniform(*SIDES))) for side in (height, width))
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        image[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
        covered[y : y + h, x : x + w] = True
    return image, cover(ground_truth, covered)
