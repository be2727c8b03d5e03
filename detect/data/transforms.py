"""From a picture and its truth to what a detector trains on.

Scale jitter must reach the backbone: torchvision's own transform would resize every picture to the same side
again, so the resizing happens here and the model is told not to (``detect.models.detectors``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for a newer version at import
import albumentations as A

from detect import masks as mask_codes
from detect.masks import Polygons, Rle
from detect.sizes import resized_hw


@dataclass(frozen=True)
class Truth:
    """Boxes float32 [N, 4] xyxy pixels, labels int64 [N], masks uint8 0/1 N x [H, W] or None."""

    boxes: np.ndarray
    labels: np.ndarray
    masks: list[np.ndarray] | None


def resize_masks(
    masks: Sequence[Polygons | Rle], image_hw: tuple[int, int], target_hw: tuple[int, int]
) -> list[np.ndarray]:
    """Each mask as a uint8 0/1 bitmap of ``target_hw``. Polygons are scaled before they are filled, which costs
    as much as the target is large, not as the original."""
    scale_y, scale_x = target_hw[0] / image_hw[0], target_hw[1] / image_hw[1]
    bitmaps = []
    for mask in masks:
        if isinstance(mask, list):
            scaled = [(np.asarray(p).reshape(-1, 2) * (scale_x, scale_y)).ravel().tolist() for p in mask]
            bitmaps.append(mask_codes.to_bitmap(mask_codes.from_polygons(scaled, target_hw)))
        else:
            bitmap = mask_codes.to_bitmap(mask_codes.from_coco(mask, image_hw))
            bitmaps.append(cv2.resize(bitmap, target_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
    return bitmaps


class TrainTransform:
    """Scale jitter, horizontal flip, and what light and lens do to a picture.

    imgsz: the short side in pixels around which the jitter draws.
    jitter: the range of the factor on ``imgsz``, drawn evenly.
    """

    def __init__(self, imgsz: int, jitter: Sequence[float]) -> None:
        self.imgsz = imgsz
        self.jitter = jitter
        self.augment = A.Compose(
            [
                A.HorizontalFlip(p=0.5),
                A.RandomBrightnessContrast(0.25, 0.25, p=0.5),
                A.HueSaturationValue(10, 30, 10, p=0.4),
                A.RandomGamma((75, 130), p=0.2),
                A.ToGray(p=0.03),
                A.GaussianBlur(blur_limit=(3, 5), p=0.1),
            ],
            # Only an index travels with the boxes: labels would come back as floats, and masks of boxes that
            # were dropped would stay behind. Boxes that clipping or shrinking leaves nothing of raise unless filtered.
            bbox_params=A.BboxParams(
                format="pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True, min_area=1.0
            ),
        )

    def __call__(
        self,
        image: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        masks: Sequence[Polygons | Rle] | None,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, Truth]:
        """image uint8 RGB [H, W, 3], boxes and masks on its pixels -> the same on the augmented picture.

        Everything random comes from ``rng``, so that an item depends on its seed alone.
        """
        image_hw: tuple[int, int] = image.shape[:2]
        target_hw = resized_hw(image_hw, round(self.imgsz * rng.uniform(self.jitter[0], self.jitter[1])))
        image = cv2.resize(image, target_hw[::-1], interpolation=cv2.INTER_LINEAR)
        scale = np.array([target_hw[1] / image_hw[1], target_hw[0] / image_hw[0]] * 2, np.float32)
        bitmaps = None if masks is None else resize_masks(masks, image_hw, target_hw)

        self.augment.set_random_seed(int(rng.integers(2**31)))
        # An empty mask *array* raises in albumentations 2.0.8, an empty list is left out of the call altogether.
        with_masks = {"masks": bitmaps} if bitmaps else {}
        out = self.augment(image=image, bboxes=boxes * scale, index=np.arange(len(boxes)), **with_masks)
        kept = np.asarray(out["index"], dtype=np.int64)
        truth = Truth(
            boxes=np.asarray(out["bboxes"], np.float32).reshape(-1, 4),
            labels=labels[kept],
            masks=None if masks is None else [np.asarray(out["masks"][i]) for i in kept] if bitmaps else [],
        )
        return out["image"], truth
