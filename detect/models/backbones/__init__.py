"""Trunks that a feature pyramid can stand on, one family a file.

To add one: a file here with a function that returns a ``Trunk``, and one line in ``detect.models.zoo.BACKBONES``.
The tests run over that table and prove the channels and strides that the ``Stage`` lines state.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from importlib import import_module

from torch import nn

from detect.models.zoo import BACKBONES


@dataclass(frozen=True)
class Stage:
    """A feature map that the pyramid takes: which layer gives it, with how many channels, at which stride."""

    layer: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Trunk:
    """A classification network without its classifier.

    module: owns the parameters under the names of the published weights.
    layers: the same network as layers to be run in order, which is all that torchvision's
        IntermediateLayerGetter does (it looks at direct children and ignores ``forward``).
    stages: the taps, fine to coarse.
    prefix: what stands before the names of ``module`` in the published files.
    """

    module: nn.Module
    layers: OrderedDict[str, nn.Module]
    stages: tuple[Stage, ...]
    prefix: str = ""


def build_trunk(name: str) -> Trunk:
    """The trunk of a line of BACKBONES with random weights."""
    module, function = BACKBONES[name].builder.split(":")
    return getattr(import_module(module), function)()
