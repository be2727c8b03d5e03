"""Fused batch norms change results by rounding only, in training and at inference."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from helpers.feature_maps import assert_close, gradients
from helpers.tiny_models import (
    CLASSES,
    assert_same_detections,
    make_image,
    random_model,
    randomize_norms,
    train_one_step,
)
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone, in_order
from detect.models.builder import build
from detect.models.cpu.fuse_bn import fuse_for_inference, fuse_frozen_batch_norms
from detect.models.norms import freeze_norms, set_norms

BACKBONES = ("mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50", "vovnet19_dw")
IMAGES = [make_image((70, 96), 3), make_image((120, 64), 4)]


def random_body(name: str, frozen: bool = True) -> nn.ModuleList:
    """Return a backbone body with random norms, inside a list, so that its own norms can be replaced."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    body = backbone.body([stage.layer for stage in backbone.stages])
    randomize_norms(body)
    holder = nn.ModuleList([body])
    if frozen:
        freeze_norms(holder)
    return holder


def norms_of(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, FrozenBatchNorm2d | nn.BatchNorm2d)]


# In training


@pytest.mark.parametrize("name", BACKBONES)
def test_fusion_for_training_keeps_names_outputs_and_gradients(name):
    plain = random_body(name)
    fused = copy.deepcopy(plain)
    assert fuse_frozen_batch_norms(fused) == len(norms_of(plain))
    assert fuse_frozen_batch_norms(fused) == 0
    twin = copy.deepcopy(fused)  # like an EMA copy, which has norms of its own
    assert list(fused.state_dict()) == list(plain.state_dict())

    x = torch.randn(2, 3, 64, 96)
    results = []
    for one in (plain, fused, twin):
        maps = one.train()[0](x)
        sum(m.square().mean() for m in maps.values()).backward()
        results.append({**{k: m.detach() for k, m in maps.items()}, **gradients(one)})
    assert_close(results[1], results[0], 2e-3)
    for norm in norms_of(fused):
        norm.weight.zero_()
    assert all(not torch.equal(m, results[0][k]) for k, m in fused[0](x).items())
    assert_close(twin[0](x), {k: results[0][k] for k in maps}, 2e-3)


def test_fusion_for_training_leaves_learned_norms_alone():
    assert fuse_frozen_batch_norms(build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), 2)) == 0


# For inference


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
def test_fusion_for_inference_removes_every_norm_of_a_backbone_and_keeps_its_output(name, frozen):
    plain = random_body(name, frozen).eval()
    fused = copy.deepcopy(plain)
    assert fuse_for_inference(fused) == len(norms_of(plain)) > 0
    assert not norms_of(fused)
    assert fuse_for_inference(fused) == 0
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        assert_close(fused[0](x), plain[0](x), 1e-4)


def test_fusion_for_inference_equals_fusion_for_training_bit_for_bit():
    fused_per_forward = random_body("resnet18").eval()
    fuse_frozen_batch_norms(fused_per_forward)
    fused_once = copy.deepcopy(fused_per_forward)
    assert fuse_for_inference(fused_once) == len(norms_of(fused_per_forward))
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = fused_per_forward[0](x)
        assert all(torch.equal(m, expected[k]) for k, m in fused_once[0](x).items())


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_detections_of_a_fused_model_equal_those_of_the_unfused_one(norm):
    model = random_model()
    set_norms(model, norm, 1e-5)
    fused = copy.deepcopy(model)
    assert fuse_for_inference(fused) == len(norms_of(model)) and not norms_of(fused)
    pairs = zip(*(Predictor(TorchRuntime(m), CLASSES, threshold=0.0)(IMAGES) for m in (fused, model)), strict=True)
    for actual, expected in pairs:
        assert_same_detections(actual, expected, px=1e-2, score=1e-4)


@pytest.mark.parametrize("name", [pytest.param("v2", marks=pytest.mark.slow), "ssdlite"])
def test_norms_of_fpn_and_heads_are_fused_too(name):
    model = build(detector_architecture(name, None if name == "ssdlite" else 64), 3)
    count = len(norms_of(model))
    assert fuse_for_inference(model) == count and not norms_of(model)


def test_fused_weights_stay_channels_last():
    model = random_model()
    fuse_for_inference(model)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convs)


def test_a_model_fused_for_inference_refuses_training():
    model = random_model()
    fuse_for_inference(model)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    model.requires_grad_(True)
    with pytest.raises(RuntimeError, match="fused for inference"):
        train_one_step(model)


def test_a_convolution_whose_output_is_a_feature_map_is_not_fused():
    layers = OrderedDict(conv=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(4))
    body = in_order(layers)(["conv", "norm"])
    assert fuse_for_inference(body) == 0
