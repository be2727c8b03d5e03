"""The networks of a detector: its parts with weights, which have no data-dependent shapes.

=============== ============================================================ ======================================
name            input                                                        output
=============== ============================================================ ======================================
dense           normalized images, float32 [N, 3, H, W]                      see DenseNetwork and OneStageNetwork
box_head        features of R RoIs, float32 [R, C, 7, 7]                     class logits [R, 1 + K], box deltas
                                                                             [R, 4 (1 + K)]
mask_head       features of D detections, float32 [D, C, 14, 14]             mask logits [D, 1 + K, 28, 28]
keypoint_head   features of D detections, float32 [D, C, 14, 14]             heatmaps [D, 17, 56, 56]
=============== ============================================================ ======================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from detect.models.builder import Detector
from detect.models.torchvision_internals import GeneralizedRCNN

Network: TypeAlias = Callable[[Tensor], Any]
"""Function of one tensor that returns a tensor, or a tuple of tensors."""


class DenseNetwork(nn.Module):
    """Backbone, FPN and RPN head of a Faster, Mask or Keypoint R-CNN.

    Returns one tuple of 3 L tensors: the feature maps of all L levels, then the objectness logits [N, A, h, w] of each
    level, then the box deltas [N, 4 A, h, w] of each level.
    """

    def __init__(self, model: GeneralizedRCNN) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.rpn.head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(images).values())
        objectness, deltas = self.head(maps)
        return *maps, *objectness, *deltas


class OneStageNetwork(nn.Module):
    """Backbone and head of RetinaNet, FCOS or SSD.

    Returns the outputs of the head for all anchors: class logits [N, anchors, classes], box regression [N, anchors, 4]
    and, for FCOS, centerness logits [N, anchors, 1]; then one channel [N, 1, h, w] of each feature map, which tells
    its size.
    """

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(images).values())
        outputs = self.head(maps)
        names = ("cls_logits", "bbox_regression", "bbox_ctrness")
        return *(outputs[name] for name in names if name in outputs), *(one[:, :1] for one in maps)


class RoINetwork(nn.Module):
    """A head and its predictor, which process each RoI on its own."""

    def __init__(self, head: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.head, self.predictor = head, predictor

    def forward(self, pooled: Tensor) -> Tensor | tuple[Tensor, ...]:
        result: Tensor | tuple[Tensor, ...] = self.predictor(self.head(pooled))
        return result


def precise(tensor: Tensor) -> Tensor:
    """Return the output of a network as float32, if it has a shorter format."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def networks_of(model: Detector) -> dict[str, nn.Module]:
    """Return the networks of ``model`` by name. They share its weights."""
    if not isinstance(model, GeneralizedRCNN):
        return {"dense": OneStageNetwork(model)}
    heads: Any = model.roi_heads
    networks: dict[str, nn.Module] = {
        "dense": DenseNetwork(model),
        "box_head": RoINetwork(heads.box_head, heads.box_predictor),
    }
    for kind in ("mask", "keypoint"):
        if getattr(heads, f"{kind}_head", None) is not None:
            parts = getattr(heads, f"{kind}_head"), getattr(heads, f"{kind}_predictor")
            networks[f"{kind}_head"] = RoINetwork(*parts)
    return networks
