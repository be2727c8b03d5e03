"""Backbones that a feature pyramid can stand on, one family a file.

To add one: a file here with a function that returns a ``Backbone``, and one line in ``detect.models.zoo.BACKBONES``;
where weights are published, another in ``detect.models.imagenet.PUBLISHED``.
The tests run over these tables and prove the channels and strides that the ``Stage`` lines state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from torch import nn
from torchvision.models._utils import IntermediateLayerGetter

from detect.models.zoo import BACKBONES, TIMM, TIMM_LIGHT


@dataclass(frozen=True)
class Stage:
    """A feature map that the pyramid takes: which layer gives it, with how many channels, at which stride."""

    layer: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Backbone:
    """A classification network without its classifier.

    module: owns the parameters under the names of the published weights.
    body: makes, from the taps' names, the module whose ``forward`` gives their maps: ``{"0": ..., "1": ...}``.
    stages: the taps, fine to coarse.
    prefix: what stands before the names of ``module`` in the published files.
    """

    module: nn.Module
    body: Callable[[Sequence[str]], nn.Module]
    stages: tuple[Stage, ...]
    prefix: str = ""

    @property
    def norm_eps(self) -> float:
        """That of its batch norms; torch's own where it has none."""
        found = {m.eps for m in self.module.modules() if isinstance(m, nn.BatchNorm2d)}
        (eps,) = found or {1e-5}
        return eps


def in_order(layers: OrderedDict[str, nn.Module]) -> Callable[[Sequence[str]], nn.Module]:
    """The ``Backbone.body`` of a network that is its layers run in order, which is all that torchvision's
    IntermediateLayerGetter does (it looks at direct children and ignores ``forward``)."""

    def body(taps: Sequence[str]) -> nn.Module:
        return IntermediateLayerGetter(nn.Sequential(layers), {layer: str(i) for i, layer in enumerate(taps)})

    return body


def build_backbone(name: str) -> Backbone:
    """The backbone of a line of BACKBONES, or ``timm:NAME``, with random weights; UsageError as ``from_timm`` has it."""
    line = TIMM_LIGHT if name.startswith(TIMM) else BACKBONES[name]
    module, function = line.builder.split(":")
    arguments = [name.removeprefix(TIMM)] if name.startswith(TIMM) else []
    return getattr(import_module(module), function)(*arguments)
