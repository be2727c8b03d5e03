"""Rectangles of noise over an image, so that a detector learns an object by more than its most telling part."""

from __future__ import annotations

import numpy as np

from detect.data.augmentation.copy_paste import GroundTruth, hide

MOST = 4  # rectangles
SIDES = 0.05, 0.25  # of the image's, drawn evenly


def cut_out(image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator) -> tuple[np.ndarray, GroundTruth]:
    """``image``, uint8 RGB [H, W, 3], with one to MOST rectangles of noise, and what is left of its ground truth.

    Cutout (DeVries and Taylor, https://arxiv.org/abs/1708.04552) with the random values that Random Erasing found best
    (Zhong et al., https://arxiv.org/abs/1708.04896). Those leave boxes as they are; here what is hidden goes from
    boxes and masks, as it does below a pasted object: COCO, too, annotates what is seen. albumentations' CoarseDropout
    would round all boxes to whole pixels and not look at the masks.
    """
    height, width = image.shape[:2]
    image, hidden = image.copy(), np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, MOST + 1))):
        h, w = (max(1, round(side * rng.uniform(*SIDES))) for side in (height, width))
        y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        image[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
        hidden[y : y + h, x : x + w] = True
    return image, hide(ground_truth, hidden)
