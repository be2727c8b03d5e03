"""Activations fused into convolutions change nothing but the time."""

from __future__ import annotations

import warnings
from collections import OrderedDict

import pytest
import torch
from helpers.tiny_models import TINY_ARCHITECTURE, random_model
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18, resnet50
from torchvision.models._utils import IntermediateLayerGetter

from detect.models.cpu.fuse_activations import fuse_activations
from detect.models.cpu.fuse_bn import fuse_for_inference


def prepared(model: nn.Module) -> nn.Module:
    fuse_for_inference(model)
    return model.eval().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("build, count", [(resnet18, 16), (resnet50, 48), (mobilenet_v3_small, 20)])
def test_networks_give_the_same_with_fused_activations(build, count):
    torch.manual_seed(0)
    model = prepared(build(weights=None))
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected, names = model(x), set(model.state_dict())
        assert fuse_activations(model) >= count
        found = model(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert set(model.state_dict()) == names
    assert fuse_activations(model) == 0, "nothing is fused twice"


def test_a_detector_gives_the_same_maps_with_fused_activations():
    model = prepared(random_model(TINY_ARCHITECTURE))
    x = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        expected = model.backbone(x)
        assert fuse_activations(model) > 10
        found = model.backbone(x)
    for name, one in expected.items():
        assert (found[name] - one).abs().max() <= 1e-5 * one.abs().max()


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish()])
def test_an_activation_is_applied_once_in_every_mode(activation):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3, padding=1)
    x = 4 * torch.randn(1, 8, 10, 12)
    expected = activation(conv(x)).detach()
    model = nn.Sequential(conv, nn.Identity(), activation)
    assert fuse_activations(model) == 1
    with torch.inference_mode():
        assert torch.allclose(model(x), expected, atol=1e-5)
        assert model(x[:0]).shape == (0, 16, 10, 12)
    assert torch.allclose(model(x), expected, atol=1e-5)
    model(x).sum().backward()
    assert conv.weight.grad is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated, and the export to ONNX needs it
        assert torch.allclose(torch.jit.trace(model.requires_grad_(False), x)(x), expected, atol=1e-5)
    assert torch.allclose(model.double()(x.double()), expected.double(), atol=1e-5)


def test_a_layer_between_convolution_and_activation_prevents_the_fusion():
    assert fuse_activations(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.ReLU())) == 0
    assert fuse_activations(resnet18(weights=None)) == 0, "its batch norms are not fused"


def test_an_output_of_a_backbone_does_not_include_the_activation_after_it():
    layers = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 1), relu=nn.ReLU(), last=nn.Conv2d(4, 4, 1), relu2=nn.ReLU())
    )
    body = IntermediateLayerGetter(layers, {"conv": "0", "relu2": "1"})
    x = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        expected = body(x)
        assert fuse_activations(body) == 1
        found = body(x)
    assert all(torch.allclose(found[name], one, atol=1e-6) for name, one in expected.items())
    assert found["0"].min() < 0
