"""An image to be read at a given size, with its annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detect.data.augmentation.ground_truth import GroundTruth, crop
from detect.structures import masks as mask_codes
from detect.structures.masks import Polygons, Rle


@dataclass(frozen=True)
class Sample:
    """An image that has not been read yet, with its annotations.

    read: returns the image resized to a (height, width), uint8 RGB [H, W, 3].
    image_hw: (height, width) of the original image, pixels.
    boxes: float32 [N, 4], xyxy, pixels of the original image.
    labels: int64 [N].
    iscrowd: bool [N].
    masks: N polygons or RLE masks on the original image; None if the data has no masks.
    """

    read: Callable[[tuple[int, int]], np.ndarray]
    image_hw: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    masks: Sequence[Polygons | Rle] | None


def read_scaled(
    sample: Sample, target_hw: tuple[int, int], max_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, GroundTruth]:
    """Return ``sample`` resized to ``target_hw`` and randomly cropped to at most ``max_hw``, with its ground truth."""
    image = sample.read(target_hw)
    height, width = (min(pair) for pair in zip(target_hw, max_hw, strict=True))
    y, x = int(rng.integers(target_hw[0] - height + 1)), int(rng.integers(target_hw[1] - width + 1))
    scale = np.array([target_hw[1] / sample.image_hw[1], target_hw[0] / sample.image_hw[0]] * 2, np.float32)
    boxes = sample.boxes * scale
    inside = np.flatnonzero((boxes[:, 2:] > (x, y)).all(axis=1) & (boxes[:, :2] < (x + width, y + height)).all(axis=1))
    masks = None
    if sample.masks is not None:  # only masks inside the window: rasterizing one costs as much as the image is large
        masks = resize_masks([sample.masks[i] for i in inside.tolist()], sample.image_hw, target_hw)
    ground_truth = GroundTruth(
        boxes[inside], sample.labels[inside], sample.iscrowd[inside], masks, not sample.iscrowd.any()
    )
    if (height, width) == target_hw:
        return image, ground_truth
    return crop(image, ground_truth, (x, y, x + width, y + height))


def resize_masks(
    masks: Sequence[Polygons | Rle], image_hw: tuple[int, int], target_hw: tuple[int, int]
) -> list[np.ndarray]:
    """Return each mask as a bitmap of ``target_hw``, uint8 0/1.

    Polygons are scaled before they are rasterized, so that the cost depends on the target size only. A mask too thin
    to cover the center of a pixel keeps the pixels that it touches.
    """
    scale_y, scale_x = target_hw[0] / image_hw[0], target_hw[1] / image_hw[1]
    bitmaps = []
    for mask in masks:
        if isinstance(mask, list):
            scaled = [(np.asarray(p).reshape(-1, 2) * (scale_x, scale_y)).ravel().tolist() for p in mask]
            bitmap = mask_codes.to_bitmap(mask_codes.from_polygons(scaled, target_hw))
        else:
            original = mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw))
            bitmap = cv2.resize(original, target_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        bitmaps.append(bitmap if bitmap.any() else _touched_pixels(mask, image_hw, target_hw))
    return bitmaps


def _touched_pixels(mask: Polygons | Rle, image_hw: tuple[int, int], target_hw: tuple[int, int]) -> np.ndarray:
    """Return the pixels of ``target_hw`` that contain the center of a pixel of the original mask."""
    bitmap = np.zeros(target_hw, np.uint8)
    y, x = np.nonzero(mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw)))
    bitmap[(2 * y + 1) * target_hw[0] // (2 * image_hw[0]), (2 * x + 1) * target_hw[1] // (2 * image_hw[1])] = 1
    return bitmap
