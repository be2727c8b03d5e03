"""The tables of models: strings only, and every fact they state about a network is true of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision
from helpers.folders import ROOT

from detect.cli.flags import parse
from detect.cli.settings import TrainSettings
from detect.errors import UsageError
from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.builder import build, freeze_stages
from detect.models.imagenet import PUBLISHED
from detect.models.zoo import BACKBONES, DETECTORS, LIGHT_BELOW

ODD_HW = (197, 261)


@pytest.fixture(scope="module", params=BACKBONES)
def fpn(request):
    """A line's name, and its model without classes."""
    torch.manual_seed(0)
    return request.param, build(backbone_architecture(request.param, "maskrcnn", 64), num_rows=2).eval()


def test_tables_and_settings_need_no_torch():
    code = (
        "import sys, detect.models.zoo, detect.cli.settings; print([m for m in sys.modules if m.startswith('torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stages_have_the_channels_and_strides_they_state(fpn):
    name, model = fpn
    stages = build_backbone(name).stages
    with torch.inference_mode():
        maps = model.backbone.body(torch.zeros(1, 3, *ODD_HW))
    assert [s.stride for s in stages] == [4, 8, 16, 32]
    assert len(maps) == 4
    for stage, found in zip(stages, maps.values(), strict=True):
        assert found.shape[1] == stage.channels
        for side, cells in zip(ODD_HW, found.shape[2:], strict=True):
            assert side // stage.stride <= cells <= -(-side // stage.stride)


def test_the_fpn_adds_a_pooled_level_of_its_own_width(fpn):
    name, model = fpn
    with torch.inference_mode():
        maps = model.backbone(torch.zeros(1, 3, 128, 192))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    assert [m.shape for m in maps.values()] == [
        (1, BACKBONES[name].fpn, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)
    ]  # fmt: skip


def test_heads_have_the_widths_of_the_line(fpn):
    name, model = fpn
    line = BACKBONES[name]
    heads = model.roi_heads
    assert heads.box_head.fc6.out_features == heads.box_predictor.cls_score.in_features == line.box
    assert [conv[0].out_channels for conv in heads.mask_head] == [line.mask] * 4
    assert heads.mask_predictor.conv5_mask.out_channels == line.mask
    assert model.rpn._post_nms_top_n["testing"] == line.proposals


def test_light_backbones_get_light_heads(fpn):
    name, _ = fpn
    line = BACKBONES[name]
    is_light = sum(p.numel() for p in build_backbone(name).module.parameters()) < LIGHT_BELOW
    widths = (128, 512, 128, 300) if is_light else (256, 1024, 256, 1000)
    assert (line.fpn, line.box, line.mask, line.proposals) == widths


def test_mobilenets_are_tapped_at_the_last_block_of_each_stride():
    taps = {
        name: [(s.layer, s.channels, s.stride) for s in build_backbone(name).stages]
        for name in ("mobilenet_v2", "mobilenet_v3_large")
    }
    assert taps == {
        "mobilenet_v2": [("3", 24, 4), ("6", 32, 8), ("13", 96, 16), ("18", 1280, 32)],
        "mobilenet_v3_large": [("3", 24, 4), ("6", 40, 8), ("12", 112, 16), ("16", 960, 32)],
    }


def test_the_body_is_the_whole_network(fpn):
    """IntermediateLayerGetter ignores ``forward``, so what a backbone runs must be told by its layers alone."""
    name, _ = fpn
    backbone = build_backbone(name)
    module = backbone.module.eval()
    body = backbone.body([stage.layer for stage in backbone.stages]).eval()
    assert {id(p) for p in body.parameters()} == {id(p) for p in module.parameters()}
    images = torch.rand(1, 3, *ODD_HW)
    if hasattr(module, "avgpool"):  # a ResNet's forward ends in a classifier, which backbones do not have
        module.avgpool = torch.nn.Identity()
        module.fc = torch.nn.Unflatten(1, (backbone.stages[-1].channels, 7, 9))
    with torch.inference_mode():
        assert torch.equal(module(images), body(images)["3"])


def test_norms_keep_the_eps_of_their_backbone(fpn):
    name, model = fpn
    architecture = backbone_architecture(name, "maskrcnn", 64)
    assert architecture.norm_eps == (1e-3 if name == "mobilenet_v3_large" else 1e-5)
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {architecture.norm_eps}


def test_freezing_takes_the_layers_up_to_the_last_frozen_map(fpn):
    name, model = fpn
    layers = list(dict(model.backbone.body.named_children()))
    before = {k: t.clone() for k, t in model.backbone.body.state_dict().items()}
    frozen = []
    for stages in range(5) if BACKBONES[name].fpn == 128 else (3,):
        freeze_stages(model.train(), stages)
        last = build_backbone(name).stages[stages - 1].layer
        below = [f"backbone.body.{layer}." for layer in layers[: layers.index(last) + 1]] if stages else []
        expected = {k for k, _ in model.named_parameters() if k.startswith(tuple(below))}
        assert {k for k, p in model.named_parameters() if not p.requires_grad} == expected
        assert model.backbone.body.training
        frozen.append(len(expected))
        model.requires_grad_(True)
    assert frozen == sorted(set(frozen))
    assert all(torch.equal(t, before[k]) for k, t in model.eval().backbone.body.state_dict().items())


def test_what_cannot_be_frozen_is_said():
    model = build(backbone_architecture("mobilenet_v2", "fasterrcnn", 64), num_rows=2)
    for stages in (-1, 5):
        with pytest.raises(UsageError, match=f"--freeze {stages}: this model's backbone has 4 stages"):
            freeze_stages(model, stages)
    mobilenet = build(detector_architecture("mobilenet"), num_rows=2)
    freeze_stages(mobilenet, 1)  # its first map, at stride 16, needs much of it
    assert 0 < sum(not p.requires_grad for p in mobilenet.backbone.body.parameters()) < 150
    mobilenet.requires_grad_(True)
    with pytest.raises(UsageError, match="--freeze 3: this model's backbone has 2 stages"):
        freeze_stages(mobilenet, 3)
    assert all(p.requires_grad for m in (model, mobilenet) for p in m.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_are_those_of_a_backbone(name):
    line = PUBLISHED[name]
    assert name in BACKBONES
    assert line.licence
    if line.torchvision:
        weights = torchvision.models.get_weight(line.torchvision)
        assert weights == getattr(torchvision.models.get_model_weights(name), weights.name)
        assert line.url == weights.url and line.url.endswith(".pth")
        assert (line.mean, line.std) == (tuple(weights.transforms().mean), tuple(weights.transforms().std))
    else:  # timm's, which test_vovnet.py looks at
        assert line.url == f"https://huggingface.co/timm/{line.folder}/resolve/main/model.safetensors"


def test_files_of_one_name_have_folders_of_their_own():
    places = [(line.folder, line.url.rpartition("/")[2]) for line in PUBLISHED.values()]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_lines_name_what_torchvision_has(name):
    line = DETECTORS[name]
    assert line.head in line.builder
    assert torchvision.models.get_weight(line.weights) == torchvision.models.get_model_weights(line.builder).COCO_V1


def test_the_settings_take_timms_names_and_no_others():
    settings, _ = parse(TrainSettings, "", ["--backbone", "timm:resnet18.a1_in1k"])
    assert settings.backbone == "timm:resnet18.a1_in1k"
    with pytest.raises(UsageError, match=r"unknown backbone 'tim:resnet18'.*timm:NAME"):
        parse(TrainSettings, "", ["--backbone", "tim:resnet18"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            "mobilenet_v2",
            "mobilenet_v2 is a backbone, which finds nothing by itself: train.py --backbone mobilenet_v2",
        ),
        ("timm:resnet18", "timm:resnet18 is a backbone"),
        ("v3", "unknown model 'v3'"),
        ("", "--model is empty"),
        ("x" * 300, "unknown model"),
        ("runs/none.safetensors", "no such checkpoint: runs/none.safetensors"),
        ("detect", "detect is a folder; name a .safetensors file in it"),
        ("https://host/x.pth", "x.pth holds weights alone"),
    ],
)
def test_what_is_no_model_is_told_without_torch(model, words):
    code = f"""
import sys
from detect.cli.settings import EvaluateSettings
from detect.errors import DetectError
try:
    EvaluateSettings(model={model!r})
except DetectError as error:
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert words in done.stdout
