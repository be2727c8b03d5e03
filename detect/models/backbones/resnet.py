"""ResNet (He et al., CVPR 2016, arXiv 1512.03385) as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision
from torch import nn

from detect.models.backbones import Stage, Trunk


def _trunk(network: nn.Module) -> Trunk:
    del network.fc
    layers = OrderedDict((name, child) for name, child in network.named_children() if name != "avgpool")
    stages = (
        Stage("layer1", 256, 4),
        Stage("layer2", 512, 8),
        Stage("layer3", 1024, 16),
        Stage("layer4", 2048, 32),
    )
    return Trunk(network, layers, stages)


def resnet50() -> Trunk:
    """ResNet-50, 23.5 M parameters."""
    return _trunk(torchvision.models.resnet50(weights=None))


def resnet101() -> Trunk:
    """ResNet-101, 42.5 M parameters."""
    return _trunk(torchvision.models.resnet101(weights=None))
