"""The tables of models state facts that hold for the built networks, and model names are checked without torch."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch
import torchvision
from helpers.folders import ROOT

from detect.cli.commands.train import TrainSettings
from detect.cli.flags import parse
from detect.errors import UsageError
from detect.models.architecture import backbone_architecture
from detect.models.backbones import build_backbone
from detect.models.builder import build
from detect.models.freeze import freeze_stages
from detect.models.zoo import BACKBONES, DETECTORS, SMALL_BACKBONE_PARAMETERS, check_model

ODD_HW = (197, 261)
PUBLISHED = {name: spec.weights for name, spec in BACKBONES.items() if spec.weights}


@pytest.fixture(scope="module", params=BACKBONES)
def fpn(request):
    """Name of a backbone, and a model on it."""
    torch.manual_seed(0)
    return request.param, build(backbone_architecture(request.param, "maskrcnn", 64), num_rows=2).eval()


def test_tables_and_settings_do_not_import_torch():
    code = (
        "import sys, detect.models.zoo, detect.cli.settings; print([m for m in sys.modules if m.startswith('torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stages_have_the_stated_channels_and_strides(fpn):
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


def test_fpn_adds_a_pooled_level_and_has_the_stated_channels(fpn):
    name, model = fpn
    with torch.inference_mode():
        maps = model.backbone(torch.zeros(1, 3, 128, 192))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    assert [m.shape for m in maps.values()] == [
        (1, BACKBONES[name].fpn_channels, 128 // s, 192 // s) for s in (4, 8, 16, 32, 64)
    ]  # fmt: skip


def test_heads_have_the_stated_channels(fpn):
    name, model = fpn
    line = BACKBONES[name]
    heads = model.roi_heads
    assert heads.box_head.fc6.out_features == heads.box_predictor.cls_score.in_features == line.box_head_channels
    assert [conv[0].out_channels for conv in heads.mask_head] == [line.mask_head_channels] * 4
    assert heads.mask_predictor.conv5_mask.out_channels == line.mask_head_channels
    assert model.rpn.post_nms_top_n() == line.max_proposals  # in evaluation mode


def test_small_backbones_get_narrow_heads(fpn):
    name, _ = fpn
    line = BACKBONES[name]
    is_small = sum(p.numel() for p in build_backbone(name).module.parameters()) < SMALL_BACKBONE_PARAMETERS
    widths = (128, 512, 128, 300) if is_small else (256, 1024, 256, 1000)
    assert (line.fpn_channels, line.box_head_channels, line.mask_head_channels, line.max_proposals) == widths


def test_mobilenet_stages_are_the_last_blocks_of_each_stride():
    taps = {
        name: [(s.layer, s.channels, s.stride) for s in build_backbone(name).stages]
        for name in ("mobilenet_v2", "mobilenet_v3_large")
    }
    assert taps == {
        "mobilenet_v2": [("3", 24, 4), ("6", 32, 8), ("13", 96, 16), ("18", 1280, 32)],
        "mobilenet_v3_large": [("3", 24, 4), ("6", 40, 8), ("12", 112, 16), ("16", 960, 32)],
    }


def test_body_equals_the_whole_network(fpn):
    """IntermediateLayerGetter ignores ``forward``, so running the layers in order has to give the same result."""
    name, _ = fpn
    backbone = build_backbone(name)
    module = backbone.module.eval()
    body = backbone.body([stage.layer for stage in backbone.stages]).eval()
    assert {id(p) for p in body.parameters()} == {id(p) for p in module.parameters()}
    images = torch.rand(1, 3, *ODD_HW)
    if hasattr(module, "avgpool"):  # the forward of a ResNet ends in a classifier, which backbones lack
        module.avgpool = torch.nn.Identity()
        module.fc = torch.nn.Unflatten(1, (backbone.stages[-1].channels, 7, 9))
    with torch.inference_mode():
        assert torch.equal(module(images), body(images)["3"])


def test_norms_have_the_eps_of_their_backbone(fpn):
    name, model = fpn
    architecture = backbone_architecture(name, "maskrcnn", 64)
    assert architecture.norm_eps == (1e-3 if name == "mobilenet_v3_large" else 1e-5)
    assert {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {architecture.norm_eps}


def test_freezing_stages_freezes_the_layers_up_to_the_last_map(fpn):
    name, model = fpn
    layers = list(dict(model.backbone.body.named_children()))
    before = {k: t.clone() for k, t in model.backbone.body.state_dict().items()}
    frozen = []
    for stages in range(5) if BACKBONES[name].fpn_channels == 128 else (3,):
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


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_state_license_and_normalization(name):
    line = PUBLISHED[name]
    assert line.license
    if not line.url:
        weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
        assert weights.url.endswith(".pth")
        assert (line.mean, line.std) == (tuple(weights.transforms().mean), tuple(weights.transforms().std))
    else:  # published by timm; test_vovnet.py checks the values
        assert line.url == f"https://huggingface.co/timm/{line.folder}/resolve/main/model.safetensors"


def test_downloads_do_not_share_a_path():
    files = [(line.folder, line.url.rpartition("/")[2] or name) for name, line in PUBLISHED.items()]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_exist_in_torchvision(name):
    line = DETECTORS[name]
    assert line.head in line.builder
    assert torchvision.models.get_model_weights(line.builder).COCO_V1.url


def test_backbone_setting_accepts_timm_names():
    settings, _ = parse(TrainSettings, "", ["--backbone", "timm:resnet18.a1_in1k"])
    assert settings.backbone == "timm:resnet18.a1_in1k"
    with pytest.raises(UsageError, match=r"unknown backbone 'tim:resnet18'.*timm:NAME"):
        parse(TrainSettings, "", ["--backbone", "tim:resnet18"])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            "mobilenet_v2",
            "mobilenet_v2 is a backbone, which cannot detect objects without training",
        ),
        ("timm:resnet18", "timm:resnet18 is a backbone"),
        ("v3", "unknown model 'v3'"),
        ("", "`model` is empty"),
        ("x" * 300, "unknown model"),
        ("runs/missing.safetensors", "no such checkpoint: runs/missing.safetensors"),
        ("detect", "detect is a folder without model.json; name a .safetensors or .onnx file in it"),
        ("https://host/x.pth", "x.pth holds bare weights"),
        ("missing.pth", "missing.pth holds bare weights"),
    ],
)
def test_invalid_models_are_rejected_without_importing_torch(model, words):
    code = f"""
import sys
from detect.cli.settings.evaluate import EvaluateSettings
from detect.errors import DetectError
try:
    EvaluateSettings(model={model!r})
except DetectError as error:
    print(error)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert words in done.stdout


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (random.Random(0).randbytes(5000), "weights.pt is not a weights file, or damaged; expected a checkpoint"),
        (b"", r"weights.pt is empty \(0 bytes\); expected"),
        (b"<!doctype html><html>", "weights.pt is a web page"),
        (b"PK\3\4" + bytes(99), "weights.pt holds bare weights"),
    ],
)
def test_a_file_without_weights_is_not_said_to_hold_some(tmp_path, content, words):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        check_model(str(path))


def test_the_name_of_a_training_run_is_answered_with_its_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "outputs" / "train" / "kites" / "best.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"unknown model 'kites'.* has outputs/train/kites/best.safetensors"):
        check_model("kites")
