"""Weights go where they belong, by name, shape and class; what was not used is said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torchvision
from helpers.folders import SHARED
from helpers.tiny_models import CLASSES, LIGHT, as_checkpoint, random_model
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detect.errors import CheckpointError
from detect.models import checkpoint, pretrained
from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.pretrained import start_model
from detect.models.weights import Weights, read
from detect.structures.class_names import ClassNames

IMAGENET = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
TWO = ClassNames(("a", "b"))


@pytest.fixture(scope="module")
def trained():
    """A model after a step, as a checkpoint file holds it."""
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def mobilenet():
    """torchvision's MobileNetV2 state with random numbers everywhere, statistics too."""
    return filled(torchvision.models.mobilenet_v2(weights=None))


def filled(network: nn.Module) -> dict[str, torch.Tensor]:
    """A state in which no two tensors are equal."""
    torch.manual_seed(5)
    return {k: torch.rand(t.shape) + 0.5 if t.is_floating_point() else t for k, t in network.state_dict().items()}


def start(weights: Weights | None, architecture=LIGHT, classes=TWO):
    return start_model(architecture, classes, weights)


def counts(words: str) -> tuple[int, int]:
    found = re.search(r": (\d+) of its (\d+) tensors used", words)
    assert found, words
    return int(found[1]), int(found[2])


def norms(model: nn.Module) -> set[type]:
    return {type(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)}


# Backbones


def test_a_published_backbone_fills_the_models_and_is_frozen(mobilenet, tmp_path):
    torch.save(mobilenet, tmp_path / "m.pth")
    model, architecture, words = start(read(tmp_path / "m.pth"))
    body = model.backbone.body.state_dict()
    assert all(torch.equal(body[k], mobilenet[f"features.{k}"]) for k in body)
    assert counts(words) == (len(mobilenet) - 2, len(mobilenet))
    assert "not used: classifier.1.weight, classifier.1.bias" in words
    assert architecture.norm == "frozen" and norms(model) == {FrozenBatchNorm2d}


def test_a_resnet_with_its_classifier_fits_backbone_and_detector(tmp_path):
    network = torchvision.models.resnet50(weights=None)
    published = filled(network)
    torch.save(published, tmp_path / "r.pth")
    for asked in (backbone_architecture("resnet50", "fasterrcnn", 64), detector_architecture("v1", 64)):
        model, architecture, words = start(read(tmp_path / "r.pth"), asked)
        body = model.backbone.body.state_dict()
        assert all(torch.equal(body[k], published[k]) for k in body)
        assert "not used: fc.weight, fc.bias" in words
        # An ImageNet backbone was trained with the usual eps, whatever the detector's COCO weights were trained with.
        assert (architecture.norm, architecture.norm_eps) == ("frozen", 1e-5)
        assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {1e-5}


def test_norms_above_a_backbone_that_came_alone_are_random_and_so_not_frozen(tmp_path):
    torch.save(filled(torchvision.models.resnet50(weights=None)), tmp_path / "r.pth")
    model, architecture, _ = start(read(tmp_path / "r.pth"), detector_architecture("v2", 64))
    assert architecture.norm == "frozen_backbone"
    assert norms(model.backbone.body) == {FrozenBatchNorm2d} and norms(model.backbone.fpn) == {nn.BatchNorm2d}


def test_a_backbone_that_is_half_there_is_told_and_not_frozen(mobilenet, tmp_path, capsys):
    half = {k: t for k, t in mobilenet.items() if not k.startswith("features.18.")}
    torch.save(half, tmp_path / "m.pth")
    model, architecture, _ = start(read(tmp_path / "m.pth"))
    assert re.search(r"warning: .*m\.pth: 5 of \d+ tensors of the backbone are not in it", capsys.readouterr().err)
    assert architecture.norm == "batch" and norms(model) == {nn.BatchNorm2d}


def test_timms_names_are_vovnets_own(tmp_path):
    named_by_timm = filled(build_backbone("vovnet19").module)
    torch.save({**named_by_timm, "head.fc.weight": torch.zeros(7, 1024)}, tmp_path / "v.pth")
    asked = backbone_architecture("vovnet19", "fasterrcnn", 64)
    model, _, words = start(read(tmp_path / "v.pth"), asked)
    assert torch.equal(
        model.backbone.body.stage3.blocks[0].conv_concat.conv.weight,
        named_by_timm["stages.1.blocks.0.conv_concat.conv.weight"],
    )
    assert counts(words) == (len(named_by_timm), len(named_by_timm) + 1)


@pytest.mark.skipif(not IMAGENET.is_file(), reason="ImageNet weights are not on this machine")
def test_the_imagenet_weights_at_hand_fill_the_whole_backbone(capsys):
    model, _, words = start(read(IMAGENET))
    used, offered = counts(words)
    assert len(model.backbone.body.state_dict()) <= used <= offered <= used + 2  # the classifier
    assert not capsys.readouterr().err


def test_a_tensor_of_another_shape_is_left_out_and_told(mobilenet, tmp_path, capsys):
    torch.save({**mobilenet, "features.18.0.weight": torch.zeros(7, 320, 1, 1)}, tmp_path / "m.pth")
    _, _, words = start(read(tmp_path / "m.pth"))
    assert "not used: backbone.body.18.0.weight" in words
    assert "backbone.body.18.0.weight" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"encoder.w": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: none of its 1 tensors fits this model's backbone"):
        start(read(tmp_path / "other.pth"))


def test_random_norms_are_not_frozen():
    model, architecture, words = start(None, replace(detector_architecture("v1", 64)))
    assert words == "random weights"
    assert (architecture.norm, architecture.norm_eps) == ("batch", 1e-5)
    assert norms(model) == {nn.BatchNorm2d}


# Whole detectors


def test_our_checkpoint_gives_everything_and_its_eps(trained, tmp_path):
    saved = replace(trained, architecture=trained.architecture | {"norm_eps": 0.125})
    checkpoint.save(saved, tmp_path / "a.safetensors")
    model, architecture, words = start(read(tmp_path / "a.safetensors"), classes=CLASSES)
    state = model.state_dict()
    assert all(torch.equal(state[k], saved.state[k]) for k in state)
    assert counts(words) == (len(saved.state), len(saved.state)) and "not used" not in words
    assert (architecture.norm, architecture.norm_eps) == ("frozen", 0.125)


def test_norms_that_learn_do_not_divide_by_nothing(trained, tmp_path):
    checkpoint.save(
        replace(trained, architecture=trained.architecture | {"norm_eps": 0.0}), tmp_path / "a.safetensors"
    )
    weights = pretrained.choose("mobilenet_v2", str(tmp_path / "a.safetensors"))
    model, architecture, _ = pretrained.start_model(LIGHT, CLASSES, weights, norm="batch")
    assert (architecture.norm, architecture.norm_eps) == ("batch", 1e-5)
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}


def test_rows_of_the_heads_go_over_by_class_name(trained, tmp_path):
    checkpoint.save(trained, tmp_path / "a.safetensors")
    torch.manual_seed(77)
    classes = ClassNames(("bird", "martian", "kite"))  # kite, balloon, bird in the file
    model, _, _ = start(read(tmp_path / "a.safetensors"), classes=classes)
    fresh, _, _ = start(read(tmp_path / "a.safetensors"), classes=classes)
    for key, width in (
        ("roi_heads.box_predictor.cls_score.weight", 1),
        ("roi_heads.box_predictor.bbox_pred.weight", 4),
        ("roi_heads.box_predictor.bbox_pred.bias", 4),
        ("roi_heads.mask_predictor.mask_fcn_logits.weight", 1),
    ):
        new, again, old = (
            s[key].unflatten(0, (-1, width)) for s in (model.state_dict(), fresh.state_dict(), trained.state)
        )
        assert torch.equal(new[[0, 1, 3]], old[[0, 3, 1]]), key
        assert not torch.equal(new[2], again[2]), key  # the martian's row is random


def test_coco_rows_are_found_under_their_category_ids(trained):
    state = {k: t for k, t in trained.state.items() if not k.startswith("roi_heads.")}
    head = torch.arange(91.0)
    state["roi_heads.box_predictor.cls_score.bias"] = head
    state["roi_heads.box_predictor.bbox_pred.bias"] = head.repeat_interleave(4)
    classes, rows = pretrained.coco_classes("FasterRCNN_ResNet50_FPN_Weights.COCO_V1")
    assert len(classes) == 80 and classes.ids == rows and rows[-1] == 90
    weights = Weights("coco", state, classes, rows)
    model, _, _ = start(weights, classes=ClassNames(("toothbrush", "person", "stop sign")))
    assert model.roi_heads.box_predictor.cls_score.bias.tolist() == [0, 90, 1, 13]
    assert model.roi_heads.box_predictor.bbox_pred.bias.tolist() == [n for n in (0, 90, 1, 13) for _ in range(4)]


def test_heads_of_unknown_classes_are_new(trained, tmp_path):
    torch.save({"model": trained.state}, tmp_path / "d.pth")
    model, _, words = start(read(tmp_path / "d.pth"), classes=CLASSES)
    state = model.state_dict()
    changed = {k for k in state if not torch.equal(state[k], trained.state[k])}
    assert {k.split(".")[-2] for k in changed} == {"cls_score", "bbox_pred", "mask_fcn_logits"}
    assert counts(words) == (len(trained.state) - 6, len(trained.state))


def test_a_mask_head_is_left_out_where_none_is_wanted(trained, tmp_path):
    checkpoint.save(trained, tmp_path / "a.safetensors")
    _, _, words = start(read(tmp_path / "a.safetensors"), replace(LIGHT, head="fasterrcnn"), CLASSES)
    assert "not used: roi_heads.mask_head." in words


def test_files_from_before_torchvision_0_13_fill_fpn_rpn_and_mask_head(trained):
    """torchvision's published v1 detectors carry the old names."""
    old = {}
    for key, tensor in trained.state.items():
        key = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", key)
        key = key.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        key = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", key)
        old[key] = tensor
    assert sum(key not in trained.state for key in old) == 16 + 2 + 8
    model, _, words = start(Weights("old", old, CLASSES), classes=CLASSES)
    assert counts(words) == (len(old), len(old))
    assert torch.equal(model.rpn.head.conv[0][0].weight, trained.state["rpn.head.conv.0.0.weight"])
    assert torch.equal(model.roi_heads.mask_head[3][0].weight, trained.state["roi_heads.mask_head.3.0.weight"])
