"""MobileNetV3 (Howard et al., ICCV 2019, https://arxiv.org/abs/1905.02244), as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision

from detect.models.backbones import Backbone, Stage, in_order


def mobilenet_v3_large() -> Backbone:
    """Return the 17 blocks of ``features``, 3.0 M parameters, with the last block of each stride as a stage.

    The eps of its batch norms is 0.001, a hundred times torch's default.
    """
    features = torchvision.models.mobilenet_v3_large(weights=None).features
    stages = (Stage("3", 24, 4), Stage("6", 40, 8), Stage("12", 112, 16), Stage("16", 960, 32))
    return Backbone(features, in_order(OrderedDict(features.named_children())), stages, prefix="features.")
