"""Pictures made of parts: a window of one, or objects of another pasted in; boxes and masks stay in step."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_VISIBLE = 0.2  # of an object's area; what shows less is cut off or covered so far that it is not looked for
DECOYS = 0.3  # of what is pasted
LARGEST_PASTED = 0.4  # of the picture's area; more would leave little of it to see


@dataclass(frozen=True)
class Truth:
    """Boxes float32 [N, 4] xyxy pixels, labels int64 [N], masks uint8 0/1 N x [H, W] or None.

    complete: whether it lists all that is seen of such objects; not where there are crowds, or a window left slivers.
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: list[np.ndarray] | None
    complete: bool = True


def cut(image: np.ndarray, truth: Truth, window: tuple[int, int, int, int]) -> tuple[np.ndarray, Truth]:
    """What of the picture lies in ``window`` (xyxy pixels), with the objects of which a fifth or more is seen.

    Boxes follow what is left of their masks where there are masks, else they are clipped.
    """
    x0, y0, x1, y1 = window
    boxes = np.clip(truth.boxes - _row(x0, y0, x0, y0), 0, _row(x1 - x0, y1 - y0, x1 - x0, y1 - y0))
    if truth.masks is None:
        visible = _areas(boxes) >= LEAST_VISIBLE * _areas(truth.boxes)
        return image[y0:y1, x0:x1], Truth(boxes[visible], truth.labels[visible], None)
    masks = [mask[y0:y1, x0:x1] for mask in truth.masks]
    return image[y0:y1, x0:x1], _what_is_left(Truth(boxes, truth.labels, masks, truth.complete), truth.masks)


def paste_objects(
    image: np.ndarray, truth: Truth, other: np.ndarray, other_truth: Truth, rng: np.random.Generator
) -> tuple[np.ndarray, Truth]:
    """``image`` with about half of the objects of ``other`` at random places, and the truth of both.

    Simple copy-paste (Ghiasi et al., CVPR 2021, https://arxiv.org/abs/2012.07177): what a pasted object covers goes
    from the masks below it, and an object of which less than a fifth is left is forgotten. Here objects move and
    may be mirrored too, since a small data set repeats its places soon; those that the edge of ``other`` cuts stay.
    Now and then a decoy is pasted, background in the shape of an object, lest the seam itself tell an object (as the
    distractors of Dwibedi et al., ICCV 2017, https://arxiv.org/abs/1708.01642).
    """
    assert truth.masks is not None and other_truth.masks is not None  # outlines are what is cut along
    image, height, width = image.copy(), *image.shape[:2]
    masks, whole = list(truth.masks), list(truth.masks)
    labels, boxes = truth.labels.tolist(), list(truth.boxes)
    for mask, label in zip(other_truth.masks, other_truth.labels.tolist(), strict=True):
        if rng.random() < 0.5 or not 0 < mask.sum() < LARGEST_PASTED * height * width:
            continue
        x, y, w, h = cv2.boundingRect(mask)
        if x == 0 or y == 0 or x + w == mask.shape[1] or y + h == mask.shape[0]:
            continue
        shape = mask[y : y + h, x : x + w]
        if is_decoy := rng.random() < DECOYS:
            x, y = int(rng.integers(mask.shape[1] - w + 1)), int(rng.integers(mask.shape[0] - h + 1))
            if not other_truth.complete or any(one[y : y + h, x : x + w].any() for one in other_truth.masks):
                continue
        step = -1 if rng.random() < 0.5 else 1
        shape, pixels = shape[:, ::step], other[y : y + h, x : x + w][:, ::step]
        left, top = int(rng.integers(width)) - w // 2, int(rng.integers(height)) - h // 2
        to = slice(max(0, top), min(height, top + h)), slice(max(0, left), min(width, left + w))
        of = slice(to[0].start - top, to[0].stop - top), slice(to[1].start - left, to[1].stop - left)
        pasted = np.zeros((height, width), np.uint8)
        pasted[to] = shape[of]
        if pasted.sum() < LEAST_VISIBLE * shape.sum():
            continue
        alpha = cv2.blur(shape.astype(np.float32), (3, 3))[of][..., None]  # a hard edge would tell what was pasted
        image[to] = np.rint(alpha * pixels[of] + (1 - alpha) * image[to]).astype(np.uint8)
        masks = [below & ~pasted & 1 for below in masks]
        if not is_decoy:
            masks.append(pasted)
            whole.append(pasted)
            labels.append(label)
            boxes.append(_box(pasted))
    both = Truth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), masks, truth.complete)
    return image, _what_is_left(both, whole)


def _what_is_left(truth: Truth, before: list[np.ndarray]) -> Truth:
    """The objects that still show a fifth of their mask ``before``, with boxes around what changed."""
    assert truth.masks is not None
    kept, boxes, complete = [], [], truth.complete
    for i, (mask, whole) in enumerate(zip(truth.masks, before, strict=True)):
        left, of = int(mask.sum()), int(whole.sum())
        if left == 0 or left < LEAST_VISIBLE * of:
            complete = complete and left == 0
            continue
        kept.append(i)
        boxes.append(truth.boxes[i])
        if left < of:
            boxes[-1] = _box(mask)
    return Truth(
        np.array(boxes, np.float32).reshape(-1, 4), truth.labels[kept], [truth.masks[i] for i in kept], complete
    )


def _box(mask: np.ndarray) -> np.ndarray:
    """The tight box around a bitmap, xyxy."""
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask))
    return _row(x, y, x + w, y + h)


def _row(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.float32)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
