"""The interface between a predictor and the library that runs its model."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from detect.models.anchors import AnchorGrid
from detect.models.prediction.raw_detections import Limits, RawDetections
from detect.structures.image_size import InputSize


class Runtime(Protocol):
    """A detector that one library runs on resized images.

    Several threads may call ``detect`` at the same time.
    """

    @property
    def name(self) -> str:
        """Name of the library: "torch", "onnxruntime" or "openvino"."""

    @property
    def precision(self) -> str:
        """Number format of most computations: "fp32", "bf16", "fp16" or "int8"."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def input_size(self) -> InputSize:
        """Size to which images are resized."""

    @property
    def max_detections(self) -> int:
        """Maximum number of detections per image."""

    @property
    def nms_iou(self) -> float:
        """IoU above which the model's NMS drops the box with the lower score."""

    @property
    def has_masks(self) -> bool:
        """Whether the model predicts masks."""

    @property
    def num_parameters(self) -> int:
        """Number of weights."""

    @property
    def proposals(self) -> int | None:
        """Number of proposals per image that an R-CNN classifies; None for a one-stage detector."""

    @property
    def applied_limits(self) -> frozenset[str]:
        """Fields of Limits that ``detect`` applies besides ``threshold`` and ``max_detections``."""

    def why_fixed(self, limit: str) -> str:
        """Return why ``detect`` does not apply a field of Limits that ``applied_limits`` lacks, and what to do."""

    def anchor_grid(self) -> AnchorGrid | None:
        """Return the anchors of the region proposal network; None for a one-stage detector."""

    def detect(self, images: Tensor, limits: Limits) -> RawDetections:
        """Detect objects in a batch of images.

        images: float32 [N, 3, h, w], RGB in 0..1, resized to ``input_size``, on ``device``.
        limits: ``max_detections`` is at most that of the runtime; fields not in ``applied_limits`` have no effect.
        Returns detections in main memory, boxes and keypoints in pixels of the resized images.
        """
