"""Frozen batch norms that cost nothing: their factors go into the weights of the convolutions before them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from detect.models.backbones.vovnet import ConvNormRelu, SeparableNormRelu

# The attributes of modules whose ``forward`` runs a convolution and hands what it gives to a norm and to nothing else.
_PAIRS: dict[type, tuple[tuple[str, str], ...]] = {
    BasicBlock: (("conv1", "bn1"), ("conv2", "bn2")),
    Bottleneck: (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
    ConvNormRelu: (("conv", "bn"),),
    SeparableNormRelu: (("conv_pw", "bn"),),
}


def fold_norms(model: nn.Module) -> int:
    """Let convolutions do the work of the frozen norms that follow them, in place; returns how many norms that spares.

    A frozen norm multiplies by constants and adds others, a pass over a whole feature map for each, and the gradient
    takes another. A convolution whose weights are multiplied instead gives the same up to rounding, and so do the
    gradients of its weights. Parameters, buffers and their names stay, and a norm's numbers may change later.
    Pairs of convolution and norm are found in modules that run their parts in order, and in those of _PAIRS.
    """
    folded = 0
    for module in model.modules():
        for conv, norm in _pairs(module):
            if type(conv) is nn.Conv2d and type(norm) is FrozenBatchNorm2d and conv.bias is None:
                # Their classes change and not the modules, which keeps every name, as torch's parametrizations do.
                conv.__class__, norm.__class__ = _ConvWithNorm, _NormInConv
                conv.__dict__["norm"] = (norm,)  # a tuple, since as a module it would be a part of both
                folded += 1
    return folded


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    if isinstance(module, nn.Sequential | IntermediateLayerGetter):
        yield from pairwise(module.children())
    for conv, norm in _PAIRS.get(type(module), ()):
        yield getattr(module, conv), getattr(module, norm)


class _ConvWithNorm(nn.Conv2d):
    norm: tuple[FrozenBatchNorm2d]

    def forward(self, x: Tensor) -> Tensor:
        (norm,) = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        return self._conv_forward(x, self.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale)


class _NormInConv(FrozenBatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return x
