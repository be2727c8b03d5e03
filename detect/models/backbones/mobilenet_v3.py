"""MobileNetV3 (Howard et al., Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244) as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision

from detect.models.backbones import Backbone, Stage, in_order


def mobilenet_v3_large() -> Backbone:
    """The 17 blocks of ``features``, 3.0 M parameters, tapped at the last block of each stride.

    Its batch norms have an eps of 0.001, a hundred times the usual one.
    """
    features = torchvision.models.mobilenet_v3_large(weights=None).features
    stages = (Stage("3", 24, 4), Stage("6", 40, 8), Stage("12", 112, 16), Stage("16", 960, 32))
    return Backbone(features, in_order(OrderedDict(features.named_children())), stages, prefix="features.")
