"""Winograd's algorithm gives the same 3x3 convolutions as torch."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_models import TINY_ARCHITECTURE, random_model
from torch import nn

from detect.models.cpu.winograd import (
    MIN_TILES,
    WinogradConv3x3,
    transform_weights,
    use_winograd,
    winograd_conv3x3,
)


def convolution(inputs: int = 64, outputs: int = 80, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias).requires_grad_(False)


def assert_same(x: torch.Tensor, conv: nn.Conv2d, block_tiles: int) -> None:
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    found = winograd_conv3x3(x, transform_weights(conv.weight), conv.bias, block_tiles)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block_tiles", [1, 5, 1000])
@pytest.mark.parametrize("hw", [(1, 1), (3, 5), (4, 4), (7, 7), (8, 13), (21, 9)])
@pytest.mark.parametrize("count", [1, 5])
def test_equal_to_torch_for_all_sizes_of_maps_batches_and_blocks(threads, block_tiles, hw, count):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(torch.randn(count, 64, *hw), convolution(), block_tiles)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_equal_to_torch_without_bias_and_for_maps_that_are_views():
    wide = torch.randn(2, 64, 12, 30).contiguous(memory_format=torch.channels_last)
    assert_same(wide[:, :, 1:-2, ::2], convolution(bias=False), 20)


def test_the_convolutions_that_profit_are_replaced_and_detect_the_same(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    model = random_model(TINY_ARCHITECTURE).eval()
    x = torch.rand(1, 3, 160, 192)
    with torch.inference_mode():
        expected = model.backbone(x)
        before = model.state_dict()
        use_winograd(model)
        replaced = [module for module in model.modules() if isinstance(module, WinogradConv3x3)]
        found = model.backbone(x)
    assert len(replaced) >= 5 and any("transformed" in one.__dict__ for one in replaced)
    assert all(one.stride == (1, 1) and one.groups == 1 and one.kernel_size == (3, 3) for one in replaced)
    assert model.state_dict().keys() == before.keys()
    for name, one in expected.items():
        assert (found[name] - one).abs().max() <= 1e-4 * one.abs().max()


@pytest.mark.parametrize("capability, channels", [("DEFAULT", []), ("AVX2", [64, 256]), ("AVX512", [256])])
def test_the_instruction_set_decides_which_convolutions_profit(monkeypatch, capability, channels):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    model = nn.Module()
    model.backbone, model.heads = nn.Module(), nn.ModuleList(convolution(n, n) for n in (32, 64, 256))
    use_winograd(model)
    assert [one.in_channels for one in model.heads if isinstance(one, WinogradConv3x3)] == channels


@pytest.mark.parametrize(
    "change",
    [
        lambda conv, x: conv(x.double()) if conv.double() else None,
        lambda conv, x: conv(x.bfloat16()) if conv.bfloat16() else None,
        lambda conv, x: conv(x[:, :, :4, : 4 * (MIN_TILES - 1)]),
    ],
)
def test_other_types_and_small_maps_use_torchs_own_convolution(change):
    conv = convolution()
    conv.__class__ = WinogradConv3x3
    with torch.inference_mode():
        assert change(conv, torch.rand(1, 64, 8, 4 * MIN_TILES)) is not None
    assert "transformed" not in conv.__dict__


def test_gradients_and_traces_use_torchs_own_convolution():
    conv = convolution()
    conv.__class__ = WinogradConv3x3
    x = torch.rand(1, 64, 32, 32, requires_grad=True)
    conv(x).sum().backward()
    assert x.grad is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, and the export to ONNX needs it
        graph = str(torch.jit.trace(conv, x.detach()).graph)
    assert "conv" in graph and "bmm" not in graph and "transformed" not in conv.__dict__


def test_several_threads_may_use_a_convolution_at_the_same_time():
    conv = convolution()
    conv.__class__ = WinogradConv3x3
    images = [torch.rand(1, 64, 40, 40) for _ in range(6)]
    results: dict[int, torch.Tensor] = {}

    def compute(i: int) -> None:
        with torch.inference_mode():
            results[i] = conv(images[i])

    threads = [threading.Thread(target=compute, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for i, image in enumerate(images):
        expected = F.conv2d(image, conv.weight, conv.bias, padding=1)
        assert (results[i] - expected).abs().max() <= 1e-5 * expected.abs().max()
