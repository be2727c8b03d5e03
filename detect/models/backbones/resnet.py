"""ResNet (He et al., CVPR 2016, https://arxiv.org/abs/1512.03385), as torchvision builds it."""

from __future__ import annotations

from collections import OrderedDict

import torchvision

from detect.models.backbones import Backbone, Stage, in_order

_BASIC, _BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)
# Name -> output channels of layer1 to layer4. Without classifier: 11.2, 21.3, 23.5 and 42.5 M parameters.
_CHANNELS = {"resnet18": _BASIC, "resnet34": _BASIC, "resnet50": _BOTTLENECK, "resnet101": _BOTTLENECK}


def backbone(name: str) -> Backbone:
    """Return a ResNet whose stages are ``layer1`` to ``layer4``."""
    network = torchvision.models.get_model(name, weights=None)
    del network.fc
    layers = OrderedDict((layer, child) for layer, child in network.named_children() if layer != "avgpool")
    stages = tuple(Stage(f"layer{i}", channels, 2 ** (i + 1)) for i, channels in enumerate(_CHANNELS[name], start=1))
    return Backbone(network, in_order(layers), stages)
