"""Backbones: classification networks that serve an FPN as feature extractors, one family per file.

To add one, write a file here with a function ``backbone(name)`` that returns a ``Backbone``, and add one line to
``detect.models.zoo.BACKBONES``, which also names the published weights. ``tests/models/test_zoo.py`` runs over that
table and checks the channels and strides that the ``Stage`` entries state.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from torch import nn

from detect.models.torchvision_internals import IntermediateLayerGetter
from detect.models.zoo import BACKBONES, TIMM, TIMM_NARROW


@dataclass(frozen=True)
class Stage:
    """One feature map that the FPN takes from a backbone.

    Attributes:
        layer: name of the layer whose output it is.
        channels: number of channels.
        stride: pixels of the image per pixel of the map.
    """

    layer: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Backbone:
    """A classification network without its classifier.

    Attributes:
        module: holds the parameters, under the names that they have in the published files.
        body: function from layer names to a module; that module's ``forward`` takes images float32 [B, 3, H, W] and
            returns the outputs of these layers as ``{"0": map, "1": map, ...}``. It shares the parameters of
            ``module``.
        stages: the feature maps for an FPN, fine to coarse.
        prefix: what precedes the names of ``module`` in the published files, such as ``features.``.
    """

    module: nn.Module
    body: Callable[[Sequence[str]], nn.Module]
    stages: tuple[Stage, ...]
    prefix: str = ""

    @property
    def norm_eps(self) -> float:
        """The eps that all batch norms of the backbone share; 1e-5, torch's default, if there is no batch norm."""
        values = {m.eps for m in self.module.modules() if isinstance(m, nn.BatchNorm2d)}
        (eps,) = values or {1e-5}
        return eps


def in_order(layers: OrderedDict[str, nn.Module]) -> Callable[[Sequence[str]], nn.Module]:
    """Return the ``Backbone.body`` of a network whose ``forward`` runs ``layers`` one after the other.

    torchvision's IntermediateLayerGetter, used here, runs direct children in order and ignores ``forward``.
    """

    def body(names: Sequence[str]) -> nn.Module:
        return IntermediateLayerGetter(nn.Sequential(layers), {name: str(i) for i, name in enumerate(names)})

    return body


def build_backbone(name: str) -> Backbone:
    """Return a backbone with random weights.

    name: key of ``BACKBONES`` or ``timm:NAME``. Raises UsageError for unusable timm names, see ``from_timm.backbone``.
    """
    spec = TIMM_NARROW if name.startswith(TIMM) else BACKBONES[name]
    return import_module(f"detect.models.backbones.{spec.family}").backbone(name.removeprefix(TIMM))
