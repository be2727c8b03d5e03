"""MobileNetV2 1.0 (Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381), as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision

from detect.models.backbones import Backbone, Stage, in_order


def mobilenet_v2() -> Backbone:
    """Return the 19 blocks of ``features``, 2.2 M parameters, with the last block of each stride as a stage.

    torchvision's own ``mobilenet_backbone`` takes blocks before the changes of stride, and two maps of stride 32. Here
    each stride from 4 to 32 gives one map.
    """
    features = torchvision.models.mobilenet_v2(weights=None).features
    stages = (Stage("3", 24, 4), Stage("6", 32, 8), Stage("13", 96, 16), Stage("18", 1280, 32))
    return Backbone(features, in_order(OrderedDict(features.named_children())), stages, prefix="features.")
