"""Images of rectangles with masks, and a check that pixels, boxes and masks agree."""

from __future__ import annotations

import numpy as np

from detect.data.augmentation.ground_truth import GroundTruth
from detect.structures import masks

HW = (60, 90)
BOXES = ((10, 10, 30, 30), (50, 20, 80, 50))
BACKGROUND = 60


def rectangles(gray_levels: tuple[int, ...] = (200, 250), boxes=BOXES) -> tuple[np.ndarray, GroundTruth]:
    """Return an image of one rectangle per gray level, and its ground truth with masks and the labels 1, 2, ..."""
    image = np.full((*HW, 3), BACKGROUND, np.uint8)
    bitmaps = []
    for value, (x0, y0, x1, y1) in zip(gray_levels, boxes, strict=True):
        image[y0:y1, x0:x1] = value
        bitmaps.append(np.zeros(HW, np.uint8))
        bitmaps[-1][y0:y1, x0:x1] = 1
    no_crowds = np.zeros(len(boxes), bool)
    return image, GroundTruth(np.float32(boxes).reshape(-1, 4), np.arange(1, len(boxes) + 1), no_crowds, bitmaps)


def assert_consistent(image: np.ndarray, ground_truth: GroundTruth) -> None:
    """Assert that every mask has the size of the image and that its box is tight."""
    assert len(ground_truth.boxes) == len(ground_truth.labels) == len(ground_truth.iscrowd) == len(ground_truth.masks)
    for box, bitmap in zip(ground_truth.boxes, ground_truth.masks, strict=True):
        assert bitmap.shape == image.shape[:2] and bitmap.dtype == np.uint8 and bitmap.max() == 1
        np.testing.assert_array_equal(masks.box(masks.from_bitmap(bitmap)), box)
