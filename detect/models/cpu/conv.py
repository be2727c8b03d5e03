"""A 3x3 convolution whose weights get their gradient at the speed at which it runs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

_LARGE = 6000  # pixels of a map
_ROWS = 16  # of a band


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps the size of its map; torch's own up to rounding.

    On a CPU oneDNN 3 takes up to twice (AVX-512) or four times (AVX2) as long for the gradient of the weights where
    channels-last maps are large, so it is handed bands of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        plain = x.device.type != "cpu" or x.shape[2] * x.shape[3] < _LARGE or torch.is_autocast_enabled("cpu")
        if plain or not torch.is_grad_enabled():
            return super().forward(x)
        return _InBands.apply(x, self.weight, self.bias)


class _InBands(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            conv2d_input(x.shape, weight, gradient, padding=1) if of_x else None,
            _weight_gradient(x, weight, gradient) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def _weight_gradient(x: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
    framed = F.pad(x, (0, 0, 1, 1))
    total = torch.zeros_like(weight)
    for image, of_image in zip(framed.split(1), gradient.split(1), strict=True):
        for top in range(0, gradient.shape[2], _ROWS):
            band = of_image[:, :, top : top + _ROWS]
            seen = image[:, :, top : top + band.shape[2] + 2]
            total += conv2d_weight(seen, weight.shape, band, padding=(0, 1))
    return total
