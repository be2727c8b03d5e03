"""The figures that torchvision publishes with its weights, as its ``meta`` has them."""

from __future__ import annotations

from typing import Any

import torchvision

from detect.models.zoo import BACKBONES, DETECTORS


def coco_ap(detector: str) -> dict[str, float]:
    """AP in percent on COCO val2017 of a line of DETECTORS: ``box_map``, and ``mask_map`` or ``kp_map``."""
    return dict(_meta(DETECTORS[detector].weights)["_metrics"]["COCO-val2017"])


def num_rows(detector: str) -> int:
    """Rows of its head: COCO's 91 for most, 2 for people and their keypoints."""
    return len(_meta(DETECTORS[detector].weights)["categories"])


def imagenet_top1(backbone: str) -> float | None:
    """Top-1 accuracy in percent on ImageNet of the weights that fine-tuning starts from; None where they are not
    torchvision's: others carry no figure along."""
    weights = BACKBONES[backbone].weights
    if weights is None or weights.torchvision is None:
        return None
    return _meta(weights.torchvision)["_metrics"]["ImageNet-1K"]["acc@1"]


def _meta(weights: str) -> dict[str, Any]:
    return torchvision.models.get_weight(weights).meta
