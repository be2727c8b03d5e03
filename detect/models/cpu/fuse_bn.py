"""Fusion of batch norms into the convolutions before them, for training and for inference.

A batch norm with fixed statistics multiplies each channel by a constant and adds another. Multiplying the weights of
the convolution instead gives the same result up to rounding, without a pass over the whole feature map (and, in
training, another one for the gradient).

- ``fuse_frozen_batch_norms`` is for models that are trained. It fuses frozen norms during every forward pass, so all
  parameters, buffers and their names stay, and so do the gradients.
- ``fuse_for_inference`` is for models that only predict. It fuses once, into the stored weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from detect.models.cpu.conv import BandedConv3x3
from detect.models.torchvision_internals import BasicBlock, Bottleneck, IntermediateLayerGetter

# Attributes (convolution, norm) of modules whose ``forward`` passes the convolution's output only to the norm.
_PAIRS: dict[type, tuple[tuple[str, str], ...]] = {
    BasicBlock: (("conv1", "bn1"), ("conv2", "bn2")),
    Bottleneck: (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")),
}


def fuse_frozen_batch_norms(model: nn.Module) -> int:
    """Fuse frozen batch norms into the convolutions before them during every forward pass, in place.

    Returns the number of fused norms. The state dict keeps its names and values, the gradients of the convolutions'
    weights are the same up to rounding, and norms may change later (as an EMA copy does). BatchNorm2d is left alone.
    """
    fused = 0
    for _, conv, _, norm in _pairs(model):
        is_plain_conv = type(conv) is nn.Conv2d and conv.bias is None and conv.padding_mode == "zeros"
        if is_plain_conv and type(norm) is FrozenBatchNorm2d:
            # Changing their classes instead of replacing the modules keeps all names, as torch's parametrizations do.
            conv.__class__, norm.__class__ = _ConvFusedWithNorm, _NormFusedIntoConv
            conv.__dict__["norm"] = (norm,)  # in a tuple, since a module would be registered twice
            fused += 1
    return fused


def fuse_for_inference(model: nn.Module) -> int:
    """Fuse batch norms into the stored weights of the convolutions before them, once and in place.

    Returns the number of fused norms: frozen ones, BatchNorm2d with their running statistics, and those that
    ``fuse_frozen_batch_norms`` has fused before. A fused norm becomes ``nn.Identity`` and its convolution gets a bias,
    so the state dict changes: load weights before, and do not save afterwards. The model is put into evaluation mode
    and its parameters no longer require gradients. A forward pass in training mode raises RuntimeError from then on.
    """
    model.eval().requires_grad_(False)
    fused = 0
    for owner, conv, norm_name, norm in list(_pairs(model)):
        if type(conv) not in (nn.Conv2d, BandedConv3x3, _ConvFusedWithNorm) or conv.padding_mode != "zeros":
            continue
        if type(norm) not in (nn.BatchNorm2d, FrozenBatchNorm2d, _NormFusedIntoConv) or norm.running_var is None:
            continue
        if conv.__dict__.pop("norm", None):  # undo the fusion for training
            conv.__class__ = nn.Conv2d
        scale, shift = _scale_and_shift(norm)
        bias = shift if conv.bias is None else shift + conv.bias * scale
        conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
        conv.bias = nn.Parameter(bias, requires_grad=False)
        setattr(owner, norm_name, nn.Identity())
        fused += 1
    if fused:
        model.register_forward_pre_hook(_refuse_training)
    return fused


def _refuse_training(model: nn.Module, _: Any) -> None:
    if model.training:
        raise RuntimeError(
            "this model's batch norms are fused for inference, so it cannot be trained; build it again from its "
            "checkpoint"
        )


def _scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """Return float32 [C] and [C] such that a norm in evaluation mode computes ``x * scale + shift``."""
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _pairs(model: nn.Module) -> Iterator[tuple[nn.Module, Any, str, Any]]:
    """Yield the pairs of neighbors that run one after the other: owner, first module, name of the second, second.

    Sequential modules and those of ``_PAIRS`` are searched.
    """
    for owner in model.modules():
        if isinstance(owner, nn.Sequential | IntermediateLayerGetter):
            outputs = getattr(owner, "return_layers", {})
            for (first_name, first), (name, second) in pairwise(owner.named_children()):
                if first_name not in outputs:  # an output must not include the norm of the next layer
                    yield owner, first, name, second
        for conv, norm in _PAIRS.get(type(owner), ()):
            yield owner, getattr(owner, conv), norm, getattr(owner, norm)


class _ConvFusedWithNorm(nn.Conv2d):
    norm: tuple[FrozenBatchNorm2d]

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = _scale_and_shift(self.norm[0])
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)


class _NormFusedIntoConv(FrozenBatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return x
