"""Figures that torchvision publishes with its weights, from their ``meta``."""

from __future__ import annotations

from typing import Any

import torchvision

from detect.models.zoo import BACKBONES, DETECTORS


def coco_ap(detector: str) -> dict[str, float]:
    """Return AP in percent on COCO val2017 of an entry of DETECTORS: ``box_map``, and ``mask_map`` or ``kp_map``."""
    return dict(_meta(DETECTORS[detector].weights)["_metrics"]["COCO-val2017"])


def num_rows(detector: str) -> int:
    """Return the number of rows of the classification head: 91 for COCO, 2 for people with keypoints."""
    return len(_meta(DETECTORS[detector].weights)["categories"])


def imagenet_top1(backbone: str) -> float | None:
    """Return the ImageNet top-1 accuracy in percent of the weights that fine-tuning starts from.

    None for weights that are not torchvision's, which publish no figure.
    """
    weights = BACKBONES[backbone].weights
    if weights is None or not weights.torchvision:
        return None
    return _meta(weights.torchvision)["_metrics"]["ImageNet-1K"]["acc@1"]


def _meta(weights: str) -> dict[str, Any]:
    return torchvision.models.get_weight(weights).meta
