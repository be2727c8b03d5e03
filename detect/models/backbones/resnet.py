"""ResNet (He et al., CVPR 2016, https://arxiv.org/abs/1512.03385), as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision
from torch import nn

from detect.models.backbones import Backbone, Stage, in_order

_BASIC = (64, 128, 256, 512)
_BOTTLENECK = (256, 512, 1024, 2048)


def resnet18() -> Backbone:
    """ResNet-18, 11.2 M parameters."""
    return _backbone(torchvision.models.resnet18(weights=None), _BASIC)


def resnet34() -> Backbone:
    """ResNet-34, 21.3 M parameters."""
    return _backbone(torchvision.models.resnet34(weights=None), _BASIC)


def resnet50() -> Backbone:
    """ResNet-50, 23.5 M parameters."""
    return _backbone(torchvision.models.resnet50(weights=None), _BOTTLENECK)


def resnet101() -> Backbone:
    """ResNet-101, 42.5 M parameters."""
    return _backbone(torchvision.models.resnet101(weights=None), _BOTTLENECK)


def _backbone(network: nn.Module, channels: tuple[int, ...]) -> Backbone:
    """Return a Backbone whose stages are ``layer1`` to ``layer4`` with ``channels`` output channels."""
    del network.fc
    layers = OrderedDict((name, child) for name, child in network.named_children() if name != "avgpool")
    stages = tuple(Stage(f"layer{i}", width, 2 ** (i + 1)) for i, width in enumerate(channels, start=1))
    return Backbone(network, in_order(layers), stages)
