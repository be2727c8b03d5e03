"""The tables of models: strings only, and every fact they state about a network is true of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

from detect.models.architecture import backbone_architecture
from detect.models.backbones import build_trunk
from detect.models.detectors import build
from detect.models.zoo import BACKBONES, DETECTORS, HEADS

ROOT = Path(__file__).parent.parent
ODD_HW = (197, 261)


@pytest.fixture(scope="module", params=BACKBONES)
def pyramid(request):
    """A line's name, and its model without classes."""
    torch.manual_seed(0)
    return request.param, build(backbone_architecture(request.param, "maskrcnn", 64), num_rows=2).eval()


def test_tables_and_settings_need_no_torch():
    code = "import sys, detect.models.zoo, detect.config; print([m for m in sys.modules if m.startswith('torch')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stages_have_the_channels_and_strides_they_state(pyramid):
    name, model = pyramid
    stages = build_trunk(name).stages
    with torch.inference_mode():
        maps = model.backbone.body(torch.zeros(1, 3, *ODD_HW))
    assert [s.stride for s in stages] == [4, 8, 16, 32]
    assert len(maps) == 4
    for stage, found in zip(stages, maps.values(), strict=True):
        assert found.shape[1] == stage.channels
        for side, cells in zip(ODD_HW, found.shape[2:], strict=True):
            assert side // stage.stride <= cells <= -(-side // stage.stride)


def test_the_pyramid_adds_a_pooled_level_of_its_own_width(pyramid):
    name, model = pyramid
    with torch.inference_mode():
        maps = model.backbone(torch.zeros(1, 3, 128, 192))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    assert [m.shape for m in maps.values()] == [
        (1, BACKBONES[name].fpn, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)
    ]  # fmt: skip


def test_heads_have_the_widths_of_the_line(pyramid):
    name, model = pyramid
    line = BACKBONES[name]
    assert (line.fpn, line.box, line.mask) == ((256, 1024, 256) if "resnet" in name else (128, 512, 128))
    heads = model.roi_heads
    assert heads.box_head.fc6.out_features == heads.box_predictor.cls_score.in_features == line.box
    assert [conv[0].out_channels for conv in heads.mask_head] == [line.mask] * 4
    assert heads.mask_predictor.conv5_mask.out_channels == line.mask
    assert model.rpn._post_nms_top_n["testing"] == line.proposals


def test_mobilenet_v2_is_tapped_at_the_last_block_of_each_stride():
    stages = build_trunk("mobilenet_v2").stages
    assert [(s.layer, s.channels, s.stride) for s in stages] == [
        ("3", 24, 4), ("6", 32, 8), ("13", 96, 16), ("18", 1280, 32),
    ]  # fmt: skip


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_in_order_are_the_network(name):
    """IntermediateLayerGetter ignores ``forward``, so what a trunk runs must be told by its layers alone."""
    trunk = build_trunk(name)
    kept = {id(p) for layer in trunk.layers.values() for p in layer.parameters()}
    assert kept == {id(p) for p in trunk.module.parameters()}
    assert {stage.layer for stage in trunk.stages} <= set(trunk.layers)


@pytest.mark.parametrize("name", BACKBONES)
def test_published_backbone_weights_exist_under_their_name(name):
    if BACKBONES[name].weights:
        assert torchvision.models.get_weight(BACKBONES[name].weights).url.endswith(".pth")


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_lines_name_what_torchvision_has(name):
    line = DETECTORS[name]
    assert line.head in HEADS
    assert torchvision.models.get_weight(line.weights) == torchvision.models.get_model_weights(line.builder).COCO_V1
