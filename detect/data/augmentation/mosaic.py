"""Four images in one, around a point of chance (Bochkovskiy et al., https://arxiv.org/abs/2004.10934)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detect.data.augmentation.copy_paste import GroundTruth

IMAGES = 4
CENTRE = 0.3, 0.7  # where the four meet, a share of the sides, drawn evenly
GROUND = 114  # gray, where an image does not fill its quarter

Quarter = tuple[int, int, int, int]
"""xyxy pixels of the mosaic."""


def quarters(hw: tuple[int, int], rng: np.random.Generator) -> list[Quarter]:
    """The four quarters of a mosaic of (height, width) ``hw``, in an order of chance."""
    height, width = hw
    y, x = (round(side * rng.uniform(*CENTRE)) for side in hw)
    all_ = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    return [all_[i] for i in rng.permutation(IMAGES)]


def join(
    hw: tuple[int, int], parts: Sequence[tuple[np.ndarray, GroundTruth]], places: Sequence[Quarter]
) -> tuple[np.ndarray, GroundTruth]:
    """The mosaic, uint8 RGB [*hw, 3], of images that are no larger than their quarters, each in the upper left
    corner of its own, and its ground truth; masks only where all of them have masks."""
    image, truths = np.full((*hw, 3), GROUND, np.uint8), []
    for (part, ground_truth), (left, top, _, _) in zip(parts, places, strict=True):
        there = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        image[there] = part
        truths.append(
            replace(
                ground_truth,
                boxes=ground_truth.boxes + np.array([left, top] * 2, np.float32),
                masks=_on(hw, ground_truth, there),
            )
        )
    masks = [ground_truth.masks for ground_truth in truths]
    return image, GroundTruth(
        boxes=np.concatenate([ground_truth.boxes for ground_truth in truths]),
        labels=np.concatenate([ground_truth.labels for ground_truth in truths]),
        iscrowd=np.concatenate([ground_truth.iscrowd for ground_truth in truths]),
        masks=None if None in masks else [mask for some in masks for mask in some or ()],
        complete=all(ground_truth.complete for ground_truth in truths),
    )


def _on(hw: tuple[int, int], ground_truth: GroundTruth, there: tuple[slice, slice]) -> list[np.ndarray] | None:
    """The masks of a part on the whole mosaic."""
    if ground_truth.masks is None:
        return None
    whole = [np.zeros(hw, np.uint8) for _ in ground_truth.masks]
    for bitmap, mask in zip(whole, ground_truth.masks, strict=True):
        bitmap[there] = mask
    return whole
