"""Augmentations taken from albumentations (2.0.8, the last release under the MIT license).

All of them run in one ``Compose``, which converts boxes once per image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import asks the network for a newer version
import albumentations as A

from detect.data.augmentation.ground_truth import GroundTruth
from detect.data.augmentation.transform import Another, Transform


class AlbumentationsTransform(Transform):
    """Augmentation made of albumentations transforms. A subclass implements ``transforms`` only."""

    def transforms(self) -> list[A.BasicTransform]:
        """Return the albumentations transforms for this strength."""
        raise NotImplementedError


class AlbumentationsStep(Transform):
    """All albumentations transforms, applied in order with one random seed per image."""

    def __init__(self, parts: Sequence[AlbumentationsTransform]) -> None:
        super().__init__(None)
        self._compose = A.Compose(
            [transform for part in parts for transform in part.transforms()],
            # Only an index accompanies the boxes: labels would come back as floats, and masks of dropped boxes would
            # remain. Without the filters, albumentations raises for boxes that clipping or resizing leaves empty.
            bbox_params=A.BboxParams(
                format="pascal_voc", label_fields=["index"], clip=True, filter_invalid_bboxes=True, min_area=1.0
            ),
        )

    def __call__(
        self, image: np.ndarray, ground_truth: GroundTruth, rng: np.random.Generator, another: Another | None = None
    ) -> tuple[np.ndarray, GroundTruth]:
        """Return the changed image, uint8 RGB, and its ground truth without boxes smaller than 1 px²."""
        self._compose.set_random_seed(int(rng.integers(2**31)))
        # albumentations 2.0.8 raises for an empty mask array, so images without masks pass no masks at all.
        with_masks = {"masks": ground_truth.masks} if ground_truth.masks else {}
        out = self._compose(
            image=image, bboxes=ground_truth.boxes, index=np.arange(len(ground_truth.boxes)), **with_masks
        )
        boxes = np.asarray(out["bboxes"], np.float32).reshape(-1, 4)
        masks = [np.asarray(mask) for mask in out["masks"]] if ground_truth.masks else ground_truth.masks
        kept = replace(ground_truth, masks=masks).only(np.asarray(out["index"], np.int64))
        return out["image"], replace(kept, boxes=boxes)
