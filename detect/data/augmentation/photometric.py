"""What light, lens, sensor and file do to an image: nothing moves, but for the mirror."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else it asks the network for a newer version at import
import albumentations as A

from detect.data.augmentation.copy_paste import GroundTruth
from detect.data.augmentation.presets import Augmentation

HUES: dict[str, Callable[[], list[A.BasicTransform]]] = {
    "none": lambda: [],
    "mild": lambda: [A.HueSaturationValue(10, 30, 10, p=0.4), A.ToGray(p=0.03)],
    "strong": lambda: [A.HueSaturationValue(90, 60, 20, p=0.6), A.ToGray(p=0.15)],
}


class Photometric:
    """The mirror, and then colors, brightness, gamma, blur and wear as strongly as ``augmentation`` says."""

    def __init__(self, augmentation: Augmentation) -> None:
        self._compose = A.Compose(
            [
                A.HorizontalFlip(p=augmentation.flip),
                *HUES[augmentation.color](),
                A.RandomBrightnessContrast(augmentation.light, augmentation.light, p=0.5 if augmentation.light else 0),
                A.RandomGamma((75, 130), p=augmentation.gamma),
                A.GaussianBlur(blur_limit=(3, 5), p=augmentation.blur),
                # Noise of the same strength in all three channels, since that of each costs three times as much.
                A.OneOf(
                    [
                        A.ImageCompression(quality_range=(30, 80)),
                        A.GaussNoise(std_range=(0.01, 0.04), per_channel=False),
                    ],
                    p=augmentation.wear,
                ),
            ],
            # Only an index travels with the boxes: labels would come back as floats, and masks of boxes that
            # were dropped would stay behind. Boxes that clipping or shrinking leaves nothing of raise unless filtered.
            bbox_params=A.BboxParams(
                format="pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True, min_area=1.0
            ),
        )

    def __call__(
        self, image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator
    ) -> tuple[np.ndarray, GroundTruth]:
        """The changed image, uint8 RGB, and its ground truth, without boxes of less than a pixel."""
        self._compose.set_random_seed(int(rng.integers(2**31)))
        # An empty mask *array* raises in albumentations 2.0.8, an empty list is left out of the call altogether.
        with_masks = {"masks": ground_truth.masks} if ground_truth.masks else {}
        out = self._compose(
            image=image, bboxes=ground_truth.boxes, index=np.arange(len(ground_truth.boxes)), **with_masks
        )
        boxes = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        masks = [np.asarray(mask) for mask in out["masks"]] if ground_truth.masks else ground_truth.masks
        kept = replace(ground_truth, masks=masks).only(np.asarray(out["index"], np.int64))
        return out["image"], replace(kept, boxes=boxes)
