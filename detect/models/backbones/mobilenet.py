"""MobileNetV2 1.0 (Sandler et al., CVPR 2018, https://arxiv.org/abs/1801.04381) and MobileNetV3 (Howard et al., ICCV
2019, https://arxiv.org/abs/1905.02244), as torchvision builds them."""

from __future__ import annotations

from collections import OrderedDict

import torchvision

from detect.models.backbones import Backbone, Stage, in_order

# The last block of each stride. torchvision's own ``mobilenet_backbone`` takes blocks before the changes of stride,
# and two maps of stride 32.
_STAGES = {
    # 19 blocks, 2.2 M parameters
    "mobilenet_v2": (Stage("3", 24, 4), Stage("6", 32, 8), Stage("13", 96, 16), Stage("18", 1280, 32)),
    # 17 blocks, 3.0 M parameters; the eps of its batch norms is 0.001, a hundred times torch's default
    "mobilenet_v3_large": (Stage("3", 24, 4), Stage("6", 40, 8), Stage("12", 112, 16), Stage("16", 960, 32)),
}


def backbone(name: str) -> Backbone:
    """Return the blocks of ``features``, four of which are stages."""
    features = torchvision.models.get_model(name, weights=None).features
    return Backbone(features, in_order(OrderedDict(features.named_children())), _STAGES[name], prefix="features.")
