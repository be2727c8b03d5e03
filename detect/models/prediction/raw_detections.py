"""What a detector returns for a batch of images, and the limits that it applies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Limits:
    """Which boxes a detector returns.

    threshold: minimum score, 0..1.
    max_detections: number of detections per image, those with the highest scores.
    nms_iou: IoU above which the one with the lower score of two boxes of a class is dropped; None for the model's.
    class_agnostic: whether NMS also compares boxes of different classes.
    proposals: number of proposals per image that an R-CNN classifies, those with the highest scores; None for the
        model's.
    """

    threshold: float
    max_detections: int
    nms_iou: float | None = None
    class_agnostic: bool = False
    proposals: int | None = None


ONE_STAGE_LIMITS = frozenset({"nms_iou", "class_agnostic"})
"""Fields of Limits that every detector can apply besides ``threshold`` and ``max_detections``."""
TWO_STAGE_LIMITS = ONE_STAGE_LIMITS | {"proposals"}


@dataclass(frozen=True)
class RawDetections:
    """Detections in a batch of images, by image and then by descending score.

    images: number of the image in the batch, int64 [D].
    boxes: float32 [D, 4], xyxy, pixels of the resized image.
    scores: float32 [D], 0..1.
    rows: row of the class in the classification layer, int64 [D]; 0 is background.
    masks: probabilities inside the box, float32 [D, 28, 28]; None for a model without masks.
    keypoints: x, y in pixels of the resized image and score, float32 [D, 17, 3]; None for a model without keypoints.
    """

    images: Tensor
    boxes: Tensor
    scores: Tensor
    rows: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None

    def cpu(self) -> RawDetections:
        """Return the same detections in main memory."""
        return self._map(Tensor.cpu)

    def of_image(self, image: int) -> RawDetections:
        """Return the detections of one image."""
        start, end = torch.searchsorted(self.images, torch.tensor([image, image + 1])).tolist()
        return self._map(lambda tensor: tensor[start:end])

    def select(self, index: Tensor) -> RawDetections:
        """Return the detections at ``index``, int64 or bool."""
        return self._map(lambda tensor: tensor[index])

    def _map(self, function: Callable[[Tensor], Tensor]) -> RawDetections:
        changed: Any = {name: None if tensor is None else function(tensor) for name, tensor in vars(self).items()}
        return RawDetections(**changed)
