"""Ground truth of one training image, and what remains of it when the image is cropped or partly covered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

MIN_VISIBLE = 0.2
"""Fraction of an object's area that must stay visible; otherwise its annotation is removed."""


@dataclass(frozen=True)
class GroundTruth:
    """Annotations of one image.

    boxes: float32 [N, 4], xyxy, pixels of this image.
    labels: int64 [N].
    iscrowd: bool [N].
    masks: N bitmaps, uint8 0/1 [H, W] each; None if the data has no masks.
    complete: whether every visible object is annotated. False when the image has crowds, or when a crop left slivers
        of objects whose annotations were removed.
    """

    boxes: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    masks: list[np.ndarray] | None
    complete: bool = True

    def only(self, kept: np.ndarray) -> GroundTruth:
        """Return the annotations selected by ``kept``: indices, or bool [N]."""
        masks = None if self.masks is None else [self.masks[i] for i in np.arange(len(self.boxes))[kept]]
        return replace(self, boxes=self.boxes[kept], labels=self.labels[kept], iscrowd=self.iscrowd[kept], masks=masks)


def crop(
    image: np.ndarray, ground_truth: GroundTruth, window: tuple[int, int, int, int]
) -> tuple[np.ndarray, GroundTruth]:
    """Return the part of ``image`` inside ``window`` (xyxy, pixels) and its ground truth.

    An object is kept if at least ``MIN_VISIBLE`` of its area lies inside, a crowd if any of it does. Boxes are tight
    around the cropped masks where there are masks; otherwise they are clipped.
    """
    x0, y0, x1, y1 = window
    boxes = np.clip(ground_truth.boxes - _row(x0, y0, x0, y0), 0, _row(x1 - x0, y1 - y0, x1 - x0, y1 - y0))
    image, cropped = image[y0:y1, x0:x1], replace(ground_truth, boxes=boxes)
    if ground_truth.masks is None:
        return image, _visible(cropped, _areas(boxes), _areas(ground_truth.boxes))
    masks = [mask[y0:y1, x0:x1] for mask in ground_truth.masks]
    return image, visible_masks(replace(cropped, masks=masks), ground_truth.masks)


def cover(ground_truth: GroundTruth, covered: np.ndarray) -> GroundTruth:
    """Return the ground truth of an image in which the pixels ``covered``, bool [H, W], show something else.

    An object is kept if at least ``MIN_VISIBLE`` of its area stays visible, a crowd if any of it does. An object
    without a mask is taken to fill its box.
    """
    if ground_truth.masks is not None:
        masks = [mask & ~covered for mask in ground_truth.masks]
        return visible_masks(replace(ground_truth, masks=masks), ground_truth.masks)
    boxes, fractions = ground_truth.boxes.copy(), np.ones(len(ground_truth.boxes))
    for i, box in enumerate(ground_truth.boxes):
        x0, y0 = np.floor(box[:2]).astype(int).clip(0)
        x1, y1 = np.ceil(box[2:]).astype(int)
        visible = (~covered[y0:y1, x0:x1]).astype(np.uint8)
        if visible.all():  # also where the box contains no pixel
            continue
        fractions[i] = visible.mean()
        tight = tight_box(visible) + _row(x0, y0, x0, y0)
        boxes[i] = *np.maximum(box[:2], tight[:2]), *np.minimum(box[2:], tight[2:])
    return _visible(replace(ground_truth, boxes=boxes), fractions, np.ones(len(boxes)))


def visible_masks(ground_truth: GroundTruth, before: list[np.ndarray]) -> GroundTruth:
    """Return the objects of which enough is visible, with tight boxes around the masks that shrank.

    before: the masks before pixels were cropped or covered, in the same order; only their areas matter.
    """
    assert ground_truth.masks is not None
    areas, areas_before = (np.array([mask_area(m) for m in masks], np.int64) for masks in (ground_truth.masks, before))
    boxes = ground_truth.boxes.copy()
    for i in np.flatnonzero(areas < areas_before):
        boxes[i] = tight_box(ground_truth.masks[i])
    return _visible(replace(ground_truth, boxes=boxes), areas, areas_before)


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Return the tight box around a bitmap: float32 [4], xyxy."""
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask))
    return _row(x, y, x + w, y + h)


def mask_area(mask: np.ndarray) -> int:
    """Return the number of pixels of a bitmap; ``count_nonzero`` is ten times as fast as a sum."""
    return int(np.count_nonzero(mask))


def _visible(ground_truth: GroundTruth, areas: np.ndarray, areas_before: np.ndarray) -> GroundTruth:
    """Return the objects that keep ``MIN_VISIBLE`` of their area; both areas are [N]."""
    kept = (areas > 0) & (ground_truth.iscrowd | (areas >= MIN_VISIBLE * areas_before))
    slivers = (areas > 0) & ~kept
    return replace(ground_truth.only(kept), complete=ground_truth.complete and not slivers.any())


def _row(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.float32)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
