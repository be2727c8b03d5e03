"""Copy-paste: objects cut along their masks from one image and pasted into another."""

from __future__ import annotations

import cv2
import numpy as np

from detect.data.augmentation.ground_truth import MIN_VISIBLE, GroundTruth, mask_area, tight_box, visible_masks
from detect.data.augmentation.transform import Another, Transform

DECOYS = 0.3  # probability that background is pasted in the shape of an object, instead of the object
MAX_AREA = 0.4  # of a pasted object, as a fraction of the image; a larger one would cover most of it


class CopyPaste(Transform):
    """Objects of another image, pasted with the probability ``strength``. Images without masks stay unchanged."""

    needs_masks = True

    def __call__(
        self, image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator, another: Another | None
    ) -> tuple[np.ndarray, GroundTruth]:
        # Drawn at probability 0 too, unlike in other transforms: the images of existing runs depend on this draw.
        if another is None or ground_truth.masks is None or rng.random() >= self.strength:
            return image, ground_truth
        return paste_objects(image, ground_truth, *another(), rng)

    def note(self, *, has_masks: bool) -> str:
        return "" if has_masks else "not applied: no masks"


def paste_objects(
    image: np.ndarray,
    ground_truth: GroundTruth,
    source: np.ndarray,
    source_ground_truth: GroundTruth,
    rng: np.random.Generator,
) -> tuple[np.ndarray, GroundTruth]:
    """Return ``image`` with about half of the objects of ``source`` at random positions, and the ground truth of both.

    Simple copy-paste (Ghiasi et al., CVPR 2021, https://arxiv.org/abs/2012.07177). Pixels covered by a pasted object
    are removed from the masks below it; an object with less than ``MIN_VISIBLE`` of its area left is removed. Unlike
    in the paper, objects are moved and mirrored, since a small dataset would repeat the same positions. Objects cut by
    the border of ``source`` are not pasted. Sometimes background in the shape of an object is pasted, so that the
    blended edge alone does not reveal an object (the distractors of Dwibedi et al., ICCV 2017,
    https://arxiv.org/abs/1708.01642).
    """
    assert ground_truth.masks is not None and source_ground_truth.masks is not None
    image, height, width = image.copy(), *image.shape[:2]
    masks, before = list(ground_truth.masks), list(ground_truth.masks)
    labels, boxes = ground_truth.labels.tolist(), list(ground_truth.boxes)
    for mask, label, is_crowd in zip(
        source_ground_truth.masks, source_ground_truth.labels, source_ground_truth.iscrowd, strict=True
    ):
        if is_crowd or rng.random() < 0.5 or not 0 < mask_area(mask) < MAX_AREA * height * width:
            continue
        x, y, w, h = cv2.boundingRect(mask)
        if x == 0 or y == 0 or x + w == mask.shape[1] or y + h == mask.shape[0]:
            continue
        x, y, w, h = x - 1, y - 1, w + 2, h + 2  # one pixel of margin for a soft edge on both sides
        shape = mask[y : y + h, x : x + w]
        if is_decoy := rng.random() < DECOYS:
            x, y = int(rng.integers(mask.shape[1] - w + 1)), int(rng.integers(mask.shape[0] - h + 1))
            if not source_ground_truth.complete or any(
                one[y : y + h, x : x + w].any() for one in source_ground_truth.masks
            ):
                continue
        step = -1 if rng.random() < 0.5 else 1
        shape, pixels = shape[:, ::step], source[y : y + h, x : x + w][:, ::step]
        pasted = _paste(image, shape, pixels, rng)
        if pasted is None:
            continue
        masks = [below & ~pasted & 1 for below in masks]
        if not is_decoy:
            masks.append(pasted)
            before.append(pasted)
            labels.append(int(label))
            boxes.append(tight_box(pasted))
    iscrowd = np.concatenate([ground_truth.iscrowd, np.zeros(len(labels) - len(ground_truth.labels), bool)])
    all_boxes, all_labels = np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)
    return image, visible_masks(GroundTruth(all_boxes, all_labels, iscrowd, masks, ground_truth.complete), before)


def _paste(image: np.ndarray, shape: np.ndarray, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Paste ``pixels`` where ``shape`` (uint8 0/1 of the same size) is set, centered on a random pixel of ``image``.

    Changes ``image``. Returns the bitmap of the pasted pixels, uint8 0/1 [H, W]; or None, and pastes nothing, if less
    than ``MIN_VISIBLE`` of the shape would lie inside the image.
    """
    (height, width), (h, w) = image.shape[:2], shape.shape
    left, top = int(rng.integers(width)) - w // 2, int(rng.integers(height)) - h // 2
    to = slice(max(0, top), min(height, top + h)), slice(max(0, left), min(width, left + w))
    of = slice(to[0].start - top, to[0].stop - top), slice(to[1].start - left, to[1].stop - left)
    pasted = np.zeros((height, width), np.uint8)
    pasted[to] = shape[of]
    if mask_area(pasted) < MIN_VISIBLE * mask_area(shape):
        return None
    alpha = cv2.blur(shape.astype(np.float32), (3, 3))[of][..., None]  # a hard edge would reveal the pasted object
    image[to] = np.rint(alpha * pixels[of] + (1 - alpha) * image[to]).astype(np.uint8)
    return pasted
