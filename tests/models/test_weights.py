"""Tensors of a file are matched to a model by name, shape and class; unused ones are reported."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torchvision
from helpers.folders import SHARED
from helpers.tiny_models import CLASSES, TINY_ARCHITECTURE, as_checkpoint, random_model
from helpers.torchvision_files import old_names
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detect.errors import CheckpointError
from detect.models import checkpoint, pretrained
from detect.models.architecture import backbone_architecture, detector_architecture
from detect.models.backbones import build_backbone
from detect.models.pretrained import UsedWeights, build_from_weights
from detect.models.weights import Weights, read_weights
from detect.structures.class_names import ClassNames

IMAGENET = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
TWO = ClassNames(("a", "b"))


@pytest.fixture(scope="module")
def trained():
    """Checkpoint of a model after one step."""
    return as_checkpoint(random_model())


@pytest.fixture(scope="module")
def mobilenet():
    """State of torchvision's MobileNetV2 with random values, including the statistics."""
    return filled(torchvision.models.mobilenet_v2(weights=None))


def filled(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a state in which no two tensors are equal."""
    torch.manual_seed(5)
    return {k: torch.rand(t.shape) + 0.5 if t.is_floating_point() else t for k, t in network.state_dict().items()}


def start(weights: Weights | None, architecture=TINY_ARCHITECTURE, classes=TWO):
    return build_from_weights(architecture, classes, weights)


def counts(used: UsedWeights) -> tuple[int, int]:
    found = re.search(r", (\d+) of (\d+) tensors", used.line)
    assert found, used.line
    assert int(found[2]) - int(found[1]) == len(used.unused)
    return int(found[1]), int(found[2])


def norms(model: nn.Module) -> set[type]:
    return {type(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d)}


# Backbones


def test_published_backbone_fills_the_model_and_its_norms_are_frozen(mobilenet, tmp_path):
    torch.save(mobilenet, tmp_path / "m.pth")
    model, architecture, used = start(read_weights(tmp_path / "m.pth"))
    body = model.backbone.body.state_dict()
    assert all(torch.equal(body[k], mobilenet[f"features.{k}"]) for k in body)
    assert counts(used) == (len(mobilenet) - 2, len(mobilenet))
    assert used.unused == ("classifier.1.weight", "classifier.1.bias")
    assert architecture.norm == "frozen" and norms(model) == {FrozenBatchNorm2d}


def test_resnet_classifier_file_fits_backbones_and_detectors(tmp_path):
    network = torchvision.models.resnet50(weights=None)
    published = filled(network)
    torch.save(published, tmp_path / "r.pth")
    for asked in (backbone_architecture("resnet50", "fasterrcnn", 64), detector_architecture("v1", 64)):
        model, architecture, used = start(read_weights(tmp_path / "r.pth"), asked)
        body = model.backbone.body.state_dict()
        assert all(torch.equal(body[k], published[k]) for k in body)
        assert used.unused == ("fc.weight", "fc.bias")
        # ImageNet backbones were trained with the default eps, the COCO weights of v1 with 0.
        assert (architecture.norm, architecture.norm_eps) == ("frozen", 1e-5)
        assert {m.eps for m in model.modules() if isinstance(m, FrozenBatchNorm2d)} == {1e-5}


def test_random_norms_outside_a_pretrained_backbone_are_not_frozen(tmp_path):
    torch.save(filled(torchvision.models.resnet50(weights=None)), tmp_path / "r.pth")
    model, architecture, _ = start(read_weights(tmp_path / "r.pth"), detector_architecture("v2", 64))
    assert architecture.norm == "frozen_backbone"
    assert norms(model.backbone.body) == {FrozenBatchNorm2d} and norms(model.backbone.fpn) == {nn.BatchNorm2d}


def test_incomplete_backbone_gives_a_warning_and_is_not_frozen(mobilenet, tmp_path, capsys):
    half = {k: t for k, t in mobilenet.items() if not k.startswith("features.18.")}
    torch.save(half, tmp_path / "m.pth")
    model, architecture, _ = start(read_weights(tmp_path / "m.pth"))
    assert re.search(r"warning: .*m\.pth has no values for 5 of \d+ tensors of the backbone", capsys.readouterr().err)
    assert architecture.norm == "batch" and norms(model) == {nn.BatchNorm2d}


def test_vovnet_loads_a_state_with_timm_names(tmp_path):
    named_by_timm = filled(build_backbone("vovnet19").module)
    torch.save({**named_by_timm, "head.fc.weight": torch.zeros(7, 1024)}, tmp_path / "v.pth")
    asked = backbone_architecture("vovnet19", "fasterrcnn", 64)
    model, _, used = start(read_weights(tmp_path / "v.pth"), asked)
    assert torch.equal(
        model.backbone.body.stage3.blocks[0].conv_concat.conv.weight,
        named_by_timm["stages.1.blocks.0.conv_concat.conv.weight"],
    )
    assert counts(used) == (len(named_by_timm), len(named_by_timm) + 1)


@pytest.mark.skipif(not IMAGENET.is_file(), reason="ImageNet weights are not on this machine")
def test_imagenet_weights_on_this_machine_fill_the_whole_backbone(capsys):
    model, _, used = start(read_weights(IMAGENET))
    count, offered = counts(used)
    assert len(model.backbone.body.state_dict()) <= count <= offered <= count + 2  # the classifier
    assert not capsys.readouterr().err


def test_tensor_of_another_shape_is_skipped_and_reported(mobilenet, tmp_path, capsys):
    torch.save({**mobilenet, "features.18.0.weight": torch.zeros(7, 320, 1, 1)}, tmp_path / "m.pth")
    _, _, used = start(read_weights(tmp_path / "m.pth"))
    assert "backbone.body.18.0.weight" in used.unused
    assert "backbone.body.18.0.weight" in capsys.readouterr().err


def test_weights_of_another_network_are_rejected(tmp_path):
    torch.save({"encoder.w": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: none of its 1 tensor "):
        start(read_weights(tmp_path / "other.pth"))


def test_random_norms_are_not_frozen():
    model, architecture, used = start(None, replace(detector_architecture("v1", 64)))
    assert used.line == "random weights"
    assert (architecture.norm, architecture.norm_eps) == ("batch", 1e-5)
    assert norms(model) == {nn.BatchNorm2d}


# Whole detectors


def test_checkpoint_gives_all_tensors_and_its_norm_eps(trained, tmp_path):
    saved = replace(trained, architecture=trained.architecture | {"norm_eps": 0.125})
    checkpoint.save(saved, tmp_path / "a.safetensors")
    model, architecture, used = start(read_weights(tmp_path / "a.safetensors"), classes=CLASSES)
    state = model.state_dict()
    assert all(torch.equal(state[k], saved.state[k]) for k in state)
    assert counts(used) == (len(saved.state), len(saved.state)) and not used.unused
    assert (architecture.norm, architecture.norm_eps) == ("frozen", 0.125)


def test_learned_norms_have_a_positive_eps(trained, tmp_path):
    checkpoint.save(
        replace(trained, architecture=trained.architecture | {"norm_eps": 0.0}), tmp_path / "a.safetensors"
    )
    weights = pretrained.choose_weights("mobilenet_v2", str(tmp_path / "a.safetensors"))
    model, architecture, _ = pretrained.build_from_weights(TINY_ARCHITECTURE, CLASSES, weights, norm="batch")
    assert (architecture.norm, architecture.norm_eps) == ("batch", 1e-5)
    assert {m.eps for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}


def test_classification_rows_are_matched_by_class_name(trained, tmp_path):
    checkpoint.save(trained, tmp_path / "a.safetensors")
    torch.manual_seed(77)
    classes = ClassNames(("bird", "martian", "kite"))  # kite, balloon, bird in the file
    model, _, _ = start(read_weights(tmp_path / "a.safetensors"), classes=classes)
    fresh, _, _ = start(read_weights(tmp_path / "a.safetensors"), classes=classes)
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
        assert not torch.equal(new[2], again[2]), key  # the row of the unknown class is random


def test_coco_rows_are_matched_by_class_name(trained):
    state = {k: t for k, t in trained.state.items() if not k.startswith("roi_heads.")}
    head = torch.arange(91.0)
    state["roi_heads.box_predictor.cls_score.bias"] = head
    state["roi_heads.box_predictor.bbox_pred.bias"] = head.repeat_interleave(4)
    classes, rows = pretrained.coco_classes("v1")
    assert len(classes) == 80 and classes.ids == rows and rows[-1] == 90
    weights = Weights("coco", state, classes, rows)
    model, _, _ = start(weights, classes=ClassNames(("toothbrush", "person", "stop sign")))
    assert model.roi_heads.box_predictor.cls_score.bias.tolist() == [0, 90, 1, 13]
    assert model.roi_heads.box_predictor.bbox_pred.bias.tolist() == [n for n in (0, 90, 1, 13) for _ in range(4)]


def test_rows_of_unknown_classes_are_new(trained, tmp_path):
    torch.save({"model": trained.state}, tmp_path / "d.pth")
    model, _, used = start(read_weights(tmp_path / "d.pth"), classes=CLASSES)
    state = model.state_dict()
    changed = {k for k in state if not torch.equal(state[k], trained.state[k])}
    assert {k.split(".")[-2] for k in changed} == {"cls_score", "bbox_pred", "mask_fcn_logits"}
    assert counts(used) == (len(trained.state) - 6, len(trained.state))


def test_mask_head_is_skipped_for_a_model_without_masks(trained, tmp_path):
    checkpoint.save(trained, tmp_path / "a.safetensors")
    _, _, used = start(
        read_weights(tmp_path / "a.safetensors"), replace(TINY_ARCHITECTURE, head="fasterrcnn"), CLASSES
    )
    assert any(name.startswith("roi_heads.mask_head.") for name in used.unused)


def test_tensor_names_before_torchvision_0_13_are_translated(trained):
    """torchvision's published V1 detectors have the old names."""
    old = old_names(trained.state)
    assert sum(key not in trained.state for key in old) == 16 + 2 + 8
    model, _, used = start(Weights("old", old, CLASSES), classes=CLASSES)
    assert counts(used) == (len(old), len(old))
    assert torch.equal(model.rpn.head.conv[0][0].weight, trained.state["rpn.head.conv.0.0.weight"])
    assert torch.equal(model.roi_heads.mask_head[3][0].weight, trained.state["roi_heads.mask_head.3.0.weight"])
