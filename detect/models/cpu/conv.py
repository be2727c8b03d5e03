"""A 3x3 convolution with a faster weight gradient on CPUs, and when layers may use faster functions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_MIN_PIXELS = 6000  # of a feature map that is processed in bands
_BAND_ROWS = 16


def is_plain_inference(x: Tensor) -> bool:
    """Return whether a layer that gets ``x`` may use faster functions that give no gradients and cannot be recorded.

    They cannot be recorded by torch.jit and compilers, nor counted by dispatch modes such as torch's FlopCounterMode.
    """
    return (
        torch.is_inference_mode_enabled()
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
        and not is_in_torch_dispatch_mode()
    )


class BandedConv3x3(nn.Conv2d):
    """Conv2d with kernel 3, stride 1 and padding 1 that computes its weight gradient in horizontal bands.

    The result equals torch's up to rounding. On a CPU, oneDNN 3 takes up to twice as long (AVX-512) or four times as
    long (AVX2) for the weight gradient of large channels-last feature maps, unless they are passed in bands. Other
    devices, small maps and autocast use torch's own gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        is_plain = x.device.type != "cpu" or x.shape[2] * x.shape[3] < _MIN_PIXELS or torch.is_autocast_enabled("cpu")
        if is_plain or not torch.is_grad_enabled():
            return super().forward(x)
        return _BandedConv.apply(x, self.weight, self.bias)


class _BandedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            conv2d_input(x.shape, weight, gradient, padding=1) if needs_x else None,
            _weight_gradient(x, weight, gradient) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
        )


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    padded = F.pad(x, (0, 0, 1, 1))
    total = torch.zeros_like(weight)
    for image, image_gradient in zip(padded.split(1), gradient.split(1), strict=True):
        for top in range(0, gradient.shape[2], _BAND_ROWS):
            band = image_gradient[:, :, top : top + _BAND_ROWS]
            inputs = image[:, :, top : top + band.shape[2] + 2]
            total += conv2d_weight(inputs, weight.shape, band, padding=(0, 1))
    return total
