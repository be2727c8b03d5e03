"""Images of which a part is seen, or into which objects of another are pasted; boxes and masks stay in step."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

LEAST_VISIBLE = 0.2  # of an object's area; what shows less is cut off or covered so far that it is not looked for
DECOYS = 0.3  # of what is pasted, where there is ground for them
LARGEST_PASTED = 0.4  # of the image's area; more would leave little of it to see


@dataclass(frozen=True)
class GroundTruth:
    """Boxes float32 [N, 4] xyxy pixels, labels int64 [N], iscrowd bool [N], masks uint8 0/1 N x [H, W] or None.

    complete: whether it lists all that is seen of such objects; not where there are crowds, or a window left slivers.
    """

    boxes: np.ndarray
    labels: np.ndarray
    iscrowd: np.ndarray
    masks: list[np.ndarray] | None
    complete: bool = True

    def only(self, kept: np.ndarray) -> GroundTruth:
        """The objects with these numbers, or where ``kept`` is true."""
        masks = None if self.masks is None else [self.masks[i] for i in np.arange(len(self.boxes))[kept]]
        return replace(self, boxes=self.boxes[kept], labels=self.labels[kept], iscrowd=self.iscrowd[kept], masks=masks)


def cut(
    image: np.ndarray, ground_truth: GroundTruth, window: tuple[int, int, int, int]
) -> tuple[np.ndarray, GroundTruth]:
    """What of the image lies in ``window`` (xyxy pixels), with the objects of which a fifth or more is seen, and
    all that is seen of crowds.

    Boxes follow what is left of their masks where there are masks, else they are clipped.
    """
    x0, y0, x1, y1 = window
    boxes = np.clip(ground_truth.boxes - _row(x0, y0, x0, y0), 0, _row(x1 - x0, y1 - y0, x1 - x0, y1 - y0))
    image, left = image[y0:y1, x0:x1], replace(ground_truth, boxes=boxes)
    if ground_truth.masks is None:
        return image, _what_is_left(left, _areas(boxes), _areas(ground_truth.boxes))
    return image, _with_masks_left(
        replace(left, masks=[mask[y0:y1, x0:x1] for mask in ground_truth.masks]), ground_truth.masks
    )


def hide(ground_truth: GroundTruth, hidden: np.ndarray) -> GroundTruth:
    """What is left of an image's ground truth where the pixels ``hidden``, bool [H, W], show something else: the objects of
    which a fifth or more is seen, and all that is seen of crowds.

    An object without a mask counts as filling its box.
    """
    if ground_truth.masks is not None:
        return _with_masks_left(
            replace(ground_truth, masks=[mask & ~hidden for mask in ground_truth.masks]), ground_truth.masks
        )
    boxes, shares = ground_truth.boxes.copy(), np.ones(len(ground_truth.boxes))
    for i, box in enumerate(ground_truth.boxes):
        x0, y0 = np.floor(box[:2]).astype(int).clip(0)
        x1, y1 = np.ceil(box[2:]).astype(int)
        seen = (~hidden[y0:y1, x0:x1]).astype(np.uint8)
        if seen.all():  # also where the box has no pixel
            continue
        shares[i] = seen.mean()
        around = _box(seen) + _row(x0, y0, x0, y0)
        boxes[i] = *np.maximum(box[:2], around[:2]), *np.minimum(box[2:], around[2:])
    return _what_is_left(replace(ground_truth, boxes=boxes), shares, np.ones(len(boxes)))


def paste_objects(
    image: np.ndarray,
    ground_truth: GroundTruth,
    other: np.ndarray,
    other_ground_truth: GroundTruth,
    rng: np.random.Generator,
) -> tuple[np.ndarray, GroundTruth]:
    """``image`` with about half of the objects of ``other`` at random places, and the ground truth of both.

    Simple copy-paste (Ghiasi et al., CVPR 2021, https://arxiv.org/abs/2012.07177): what a pasted object covers goes
    from the masks below it, and an object of which less than a fifth is left is forgotten. Here objects move and
    may be mirrored too, since a small dataset repeats its places soon; those that the edge of ``other`` cuts stay.
    Now and then a decoy is pasted, background in the shape of an object, lest the seam itself tell an object (as the
    distractors of Dwibedi et al., ICCV 2017, https://arxiv.org/abs/1708.01642).
    """
    assert ground_truth.masks is not None and other_ground_truth.masks is not None  # outlines are what is cut along
    image, height, width = image.copy(), *image.shape[:2]
    masks, whole = list(ground_truth.masks), list(ground_truth.masks)
    labels, boxes = ground_truth.labels.tolist(), list(ground_truth.boxes)
    for mask, label, is_crowd in zip(
        other_ground_truth.masks, other_ground_truth.labels, other_ground_truth.iscrowd, strict=True
    ):
        if is_crowd or rng.random() < 0.5 or not 0 < _area(mask) < LARGEST_PASTED * height * width:
            continue
        x, y, w, h = cv2.boundingRect(mask)
        if x == 0 or y == 0 or x + w == mask.shape[1] or y + h == mask.shape[0]:
            continue
        x, y, w, h = x - 1, y - 1, w + 2, h + 2  # for the edge to be soft on both sides
        shape = mask[y : y + h, x : x + w]
        if is_decoy := rng.random() < DECOYS:
            x, y = int(rng.integers(mask.shape[1] - w + 1)), int(rng.integers(mask.shape[0] - h + 1))
            if not other_ground_truth.complete or any(
                one[y : y + h, x : x + w].any() for one in other_ground_truth.masks
            ):
                continue
        step = -1 if rng.random() < 0.5 else 1
        shape, pixels = shape[:, ::step], other[y : y + h, x : x + w][:, ::step]
        pasted = _paste(image, shape, pixels, rng)
        if pasted is None:
            continue
        masks = [below & ~pasted & 1 for below in masks]
        if not is_decoy:
            masks.append(pasted)
            whole.append(pasted)
            labels.append(int(label))
            boxes.append(_box(pasted))
    iscrowd = np.concatenate([ground_truth.iscrowd, np.zeros(len(labels) - len(ground_truth.labels), bool)])
    boxes_of_both, labels_of_both = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
    return image, _with_masks_left(
        GroundTruth(boxes_of_both, labels_of_both, iscrowd, masks, ground_truth.complete), whole
    )


def _paste(image: np.ndarray, shape: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Put the ``pixels`` of a ``shape``, uint8 0/1 of their size, into ``image`` itself, the middle at a random place;
    the bitmap of what came to lie inside, None where that is less than a fifth, and nothing is pasted."""
    (height, width), (h, w) = image.shape[:2], shape.shape
    left, top = int(rng.integers(width)) - w // 2, int(rng.integers(height)) - h // 2
    to = slice(max(0, top), min(height, top + h)), slice(max(0, left), min(width, left + w))
    of = slice(to[0].start - top, to[0].stop - top), slice(to[1].start - left, to[1].stop - left)
    pasted = np.zeros((height, width), np.uint8)
    pasted[to] = shape[of]
    if _area(pasted) < LEAST_VISIBLE * _area(shape):
        return None
    alpha = cv2.blur(shape.astype(np.float32), (3, 3))[of][..., None]  # a hard edge would tell what was pasted
    image[to] = np.rint(alpha * pixels[of] + (1 - alpha) * image[to]).astype(np.uint8)
    return pasted


def _with_masks_left(ground_truth: GroundTruth, before: list[np.ndarray]) -> GroundTruth:
    """``_what_is_left`` of objects that had the masks ``before``, with boxes around what changed."""
    assert ground_truth.masks is not None
    left, of = (np.array([_area(mask) for mask in masks], np.int64) for masks in (ground_truth.masks, before))
    boxes = ground_truth.boxes.copy()
    for i in np.flatnonzero(left < of):
        boxes[i] = _box(ground_truth.masks[i])
    return _what_is_left(replace(ground_truth, boxes=boxes), left, of)


def _what_is_left(ground_truth: GroundTruth, left: np.ndarray, of: np.ndarray) -> GroundTruth:
    """The objects that still show a fifth of their area: ``left``, ``of`` what it was, both [N]."""
    kept = (left > 0) & (ground_truth.iscrowd | (left >= LEAST_VISIBLE * of))
    slivers = (left > 0) & ~kept
    return replace(ground_truth.only(kept), complete=ground_truth.complete and not slivers.any())


def _box(mask: np.ndarray) -> np.ndarray:
    """The tight box around a bitmap, xyxy."""
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask))
    return _row(x, y, x + w, y + h)


def _area(mask: np.ndarray) -> int:
    """Pixels of a bitmap; counting takes a tenth of the time of a sum."""
    return int(np.count_nonzero(mask))


def _row(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.float32)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
