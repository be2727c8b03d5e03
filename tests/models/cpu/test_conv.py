"""BandedConv3x3 equals torch's convolution up to rounding."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.feature_maps import assert_close, gradients
from torch import nn

from detect.models.cpu.conv import BandedConv3x3


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_equal_torchs(with_bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 3, padding=1, bias=with_bias)
    banded = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    banded.__class__ = BandedConv3x3
    x = torch.randn(2, 4, 75, 90)
    results = []
    for conv in (plain, banded):
        inputs = x.clone().requires_grad_()
        conv(inputs).square().mean().backward()
        results.append({"x": inputs.grad, **gradients(conv)})
    assert_close(results[1], results[0])


def test_small_maps_give_torchs_output():
    torch.manual_seed(0)
    conv, x = BandedConv3x3(4, 6, 3, padding=1), torch.randn(2, 4, 9, 90)
    assert torch.allclose(conv(x), nn.functional.conv2d(x, conv.weight, conv.bias, padding=1), atol=1e-5)
