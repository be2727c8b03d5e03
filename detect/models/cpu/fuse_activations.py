"""Convolutions that apply the activation after them, and add the shortcut of a residual block, while they write.

A separate activation reads and writes the whole feature map again. oneDNN's convolutions can apply it before they
write; torch has operators for that, which ``torch.compile`` uses. The results are the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from detect.models.cpu.conv import BandedConv3x3, is_plain_inference
from detect.models.torchvision_internals import BasicBlock, Bottleneck, IntermediateLayerGetter

# Activation -> its name in the operators of torch, and its parameters.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
}
_PLAIN_CONVS = (nn.Conv2d, BandedConv3x3)


def fuse_activations(model: nn.Module) -> int:
    """Fuse activations into the convolutions before them, in place, and return the number of fused activations.

    model: one that only predicts, on a CPU, with its batch norms fused. Sequential modules, torchvision's
    IntermediateLayerGetter and the residual blocks of its ResNets are searched. The state dict stays. Gradients,
    traces, compilers and number formats without native support get torch's separate functions.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return 0
    fused = 0
    for owner in list(model.modules()):
        if isinstance(owner, nn.Sequential | IntermediateLayerGetter):
            fused += _fuse_sequence(owner)
        elif (block := _FUSED_BLOCKS.get(type(owner))) and _is_fusible(owner):
            owner.__class__ = block  # a subclass that adds methods only
            fused += sum(name.startswith("conv") for name, _ in owner.named_children())
    return fused


def _fuse_sequence(owner: nn.Module) -> int:
    outputs = getattr(owner, "return_layers", {})  # an output must not include the activation after it
    layers = [
        (name, layer) for name, layer in owner.named_children() if type(layer) is not nn.Identity or name in outputs
    ]
    fused = 0
    for (conv_name, conv), (name, activation) in pairwise(layers):
        if conv_name in outputs:
            continue
        if type(activation) in _ACTIVATIONS and type(conv) in _PLAIN_CONVS and _has_plain_padding(conv):
            conv.__class__ = _ConvWithActivation
            conv.__dict__["activation"] = activation
            setattr(owner, name, nn.Identity())
            fused += 1
    return fused


def _has_plain_padding(conv: Any) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def _is_fusible(block: nn.Module) -> bool:
    children = dict(block.named_children())
    convs = [child for name, child in children.items() if name.startswith("conv")]
    norms = [child for name, child in children.items() if name.startswith("bn")]
    return (
        all(type(conv) in _PLAIN_CONVS and _has_plain_padding(conv) for conv in convs)
        and all(type(norm) is nn.Identity for norm in norms)
        and type(children["relu"]) is nn.ReLU
    )


def _is_supported(x: Tensor) -> bool:
    if not is_plain_inference(x) or x.numel() == 0:
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _conv(conv: Any, x: Tensor, activation: type[nn.Module] = nn.ReLU) -> Tensor:
    """Return ``activation(conv(x))``."""
    geometry = conv.padding, conv.stride, conv.dilation, conv.groups
    return torch.ops.mkldnn._convolution_pointwise(x, conv.weight, conv.bias, *geometry, *_ACTIVATIONS[activation], "")


def _conv_add_relu(conv: Any, x: Tensor, shortcut: Tensor) -> Tensor:
    """Return ``relu(conv(x) + shortcut)``."""
    geometry = conv.padding, conv.stride, conv.dilation, conv.groups
    return torch.ops.mkldnn._convolution_pointwise.binary(
        x, shortcut, conv.weight, conv.bias, *geometry, "add", 1.0, *_ACTIVATIONS[nn.ReLU], ""
    )


class _ConvWithActivation(nn.Conv2d):
    activation: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        if _is_supported(x) and x.dtype == self.weight.dtype:
            return _conv(self, x, type(self.activation))
        return self.activation(super().forward(x))


class _FusedBasicBlock(BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        if not _is_supported(x):
            return super().forward(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return _conv_add_relu(self.conv2, _conv(self.conv1, x), shortcut)


class _FusedBottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        if not _is_supported(x):
            return super().forward(x)
        shortcut = x if self.downsample is None else self.downsample(x)
        return _conv_add_relu(self.conv3, _conv(self.conv2, _conv(self.conv1, x)), shortcut)


_FUSED_BLOCKS: dict[type[nn.Module], type[nn.Module]] = {BasicBlock: _FusedBasicBlock, Bottleneck: _FusedBottleneck}
