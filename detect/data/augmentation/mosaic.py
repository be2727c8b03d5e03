"""Mosaic: four images around a random point in one image (Bochkovskiy et al., https://arxiv.org/abs/2004.10934)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detect.data.augmentation.ground_truth import GroundTruth
from detect.data.augmentation.jitter import Jitter
from detect.data.augmentation.sample import Sample, read_scaled
from detect.structures.image_size import resized_hw

IMAGES = 4
CENTER = 0.3, 0.7  # range of the point where the four images meet, as fractions of the sides
FILL = 114  # gray level where an image does not fill its quarter
# The last epochs train on single images, since inference never sees a mosaic (as in YOLOX, Ge et al.,
# https://arxiv.org/abs/2107.08430).
EPOCHS = 0.8  # fraction of all epochs that have mosaics

Quarter = tuple[int, int, int, int]
"""xyxy, pixels of the mosaic."""


class Mosaic:
    """Combination of four images in one.

    probability: fraction of the images that become mosaics.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def num_epochs(self, epochs: int) -> int:
        """Return how many of ``epochs``, counted from the first, have mosaics."""
        return int(EPOCHS * epochs) if self.probability else 0

    def combine(
        self, samples: Sequence[Sample], imgsz: int, jitter: Jitter, rng: np.random.Generator
    ) -> tuple[np.ndarray, GroundTruth]:
        """Return a mosaic of four samples, as large as the first one at ``imgsz``, and its ground truth.

        Each image is scaled by half a jitter factor, or until it fills its quarter, and cropped at random.
        """
        hw = resized_hw(samples[0].image_hw, imgsz)
        quarters, parts = random_quarters(hw, rng), []
        for sample, (x0, y0, x1, y1) in zip(samples, quarters, strict=True):
            height, width = resized_hw(sample.image_hw, imgsz)
            # One pixel more, since sizes are rounded down. Very long images are not enlarged beyond the jitter's
            # range.
            filling = min(max((y1 - y0 + 1) / height, (x1 - x0 + 1) / width), jitter.high)
            factor = max(filling, jitter.factor(rng) / 2)
            target_hw = resized_hw(sample.image_hw, math.ceil(imgsz * factor))
            parts.append(read_scaled(sample, target_hw, (y1 - y0, x1 - x0), rng))
        return join(hw, parts, quarters)


def random_quarters(hw: tuple[int, int], rng: np.random.Generator) -> list[Quarter]:
    """Return the four quarters of a mosaic of (height, width) ``hw`` in random order."""
    height, width = hw
    y, x = (round(side * rng.uniform(*CENTER)) for side in hw)
    quarters = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    return [quarters[i] for i in rng.permutation(IMAGES)]


def join(
    hw: tuple[int, int], parts: Sequence[tuple[np.ndarray, GroundTruth]], quarters: Sequence[Quarter]
) -> tuple[np.ndarray, GroundTruth]:
    """Return the mosaic, uint8 RGB [*hw, 3], and its ground truth.

    parts: images no larger than their quarters, each placed in the upper left corner of its own, and ground truth.
    The mosaic has masks only if all parts have them.
    """
    image, moved = np.full((*hw, 3), FILL, np.uint8), []
    for (part, ground_truth), (left, top, _, _) in zip(parts, quarters, strict=True):
        window = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        image[window] = part
        boxes = ground_truth.boxes + np.array([left, top] * 2, np.float32)
        moved.append(replace(ground_truth, boxes=boxes, masks=_moved_masks(hw, ground_truth, window)))
    masks = [ground_truth.masks for ground_truth in moved]
    return image, GroundTruth(
        boxes=np.concatenate([ground_truth.boxes for ground_truth in moved]),
        labels=np.concatenate([ground_truth.labels for ground_truth in moved]),
        iscrowd=np.concatenate([ground_truth.iscrowd for ground_truth in moved]),
        masks=None if None in masks else [mask for some in masks for mask in some or ()],
        complete=all(ground_truth.complete for ground_truth in moved),
    )


def _moved_masks(
    hw: tuple[int, int], ground_truth: GroundTruth, window: tuple[slice, slice]
) -> list[np.ndarray] | None:
    """Return the masks of one part as bitmaps of the whole mosaic."""
    if ground_truth.masks is None:
        return None
    bitmaps = [np.zeros(hw, np.uint8) for _ in ground_truth.masks]
    for bitmap, mask in zip(bitmaps, ground_truth.masks, strict=True):
        bitmap[window] = mask
    return bitmaps
