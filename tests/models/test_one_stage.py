"""Fine-tuning of RetinaNet and FCOS from published weights, whose heads repeat the classes for each anchor."""

from __future__ import annotations

import sys

import pytest
import torch
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model, render_shapes, train_one_step
from helpers.torchvision_files import old_names

from detect import runtime
from detect.cli.commands import train
from detect.cli.exit_status import exit_status
from detect.inference.load import load_model
from detect.models import checkpoint, pretrained
from detect.models.architecture import detector_architecture
from detect.models.builder import build
from detect.models.weights import Weights
from detect.models.zoo import DETECTORS
from detect.structures.class_names import ClassNames

ONE_STAGE = ("retinanet", "fcos")
ANCHORS = {"retinanet": 9, "fcos": 1}
LOGITS = "head.classification_head.cls_logits"


def coco(name: str) -> Weights:
    """Return published weights in which each bias of the score layer encodes its class and anchor."""
    classes, rows = pretrained.coco_classes(name)
    state = build(detector_architecture(name, 64), 91).state_dict()
    by_anchor = torch.arange(ANCHORS[name])[:, None] * 1000.0
    state[f"{LOGITS}.bias"] = (by_anchor + torch.arange(91.0)).flatten()
    return Weights("coco", old_names(state) if name == "retinanet" else state, classes, rows)


@pytest.mark.parametrize("name", ONE_STAGE)
def test_rows_of_known_classes_are_matched_for_every_anchor(name, capsys):
    weights = coco(name)
    assert weights.is_detector
    classes = ClassNames(("toothbrush", "unseen", "person"))
    model, architecture, used = pretrained.build_from_weights(detector_architecture(name, 64), classes, weights)
    bias = model.state_dict()[f"{LOGITS}.bias"].view(ANCHORS[name], 4)
    for anchor, (_, brush, unseen, person) in enumerate(bias.tolist()):
        assert (brush, person) == (1000 * anchor + 90, 1000 * anchor + 1)
        assert -6 < unseen < -4  # the initial score is 0.01
    assert (architecture.norm, architecture.norm_eps) == ("frozen", DETECTORS[name].norm_eps)
    assert used.line.endswith("the head for unseen") and not used.unused and not capsys.readouterr().err

    own = build(detector_architecture(name, 64), 91)
    own.load_state_dict(weights.state)  # torchvision translates old names itself
    for key, tensor in model.state_dict().items():
        assert LOGITS in key or torch.equal(tensor, own.state_dict()[key]), key


@pytest.mark.parametrize("name", ONE_STAGE)
def test_rows_of_unknown_classes_are_new(name):
    weights = coco(name)
    model, _, _ = pretrained.build_from_weights(detector_architecture(name, 64), CLASSES, Weights("x", weights.state))
    assert model.state_dict()[f"{LOGITS}.bias"].max() < -4


@pytest.mark.parametrize(("name", "other"), [ONE_STAGE, ONE_STAGE[::-1]])
def test_head_of_another_one_stage_detector_is_not_used(name, other, tmp_path):
    """The tensors have the same names, but another number of anchors."""
    architecture = detector_architecture(other, 64)
    saved = as_checkpoint(random_model(architecture), architecture)
    checkpoint.save(saved, tmp_path / "other.safetensors")
    weights = pretrained.read_weights(tmp_path / "other.safetensors")
    model, _, _ = pretrained.build_from_weights(detector_architecture(name, 64), CLASSES, weights)
    for key, tensor in model.state_dict().items():
        if key.startswith("head."):
            assert tensor.ndim < 4 or all(not torch.equal(tensor, theirs) for theirs in saved.state.values()), key
        elif key.startswith("backbone.body.") and not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, saved.state[key]), key


@pytest.mark.parametrize("name", ONE_STAGE)
def test_one_step_has_finite_losses_and_changes_the_head(name):
    model = build(detector_architecture(name, 64), 1 + len(CLASSES))
    before = model.state_dict()[f"{LOGITS}.weight"].clone()
    losses = train_one_step(model)
    assert {"classification", "bbox_regression"} <= set(losses) and all(torch.isfinite(v) for v in losses.values())
    assert not torch.equal(before, model.state_dict()[f"{LOGITS}.weight"])


def test_training_can_start_from_the_checkpoint_of_another_run(tmp_path):
    architecture = detector_architecture("fcos", 64)
    saved = as_checkpoint(random_model(architecture), architecture)
    checkpoint.save(saved, tmp_path / "fcos.safetensors")
    weights = pretrained.read_weights(tmp_path / "fcos.safetensors")
    model, _, used = pretrained.build_from_weights(architecture, CLASSES, weights)
    assert all(torch.equal(tensor, saved.state[key]) for key, tensor in model.state_dict().items())
    assert not used.unused


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ONE_STAGE, "mobilenet"])
def test_train_command_fine_tunes_one_stage_detectors(name, tmp_path, monkeypatch, capsys):
    data = render_shapes(tmp_path, {"train": 2, "val": 1})
    flags = ["--data", data, "--model", name, "--pretrained", "none", "--imgsz", "64", "--epochs", "1", "--lr", "1e-4"]
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, flags), "--output-dir", str(tmp_path), "--name", "run"])
    monkeypatch.setattr(runtime, "default_workers", lambda: 0)
    assert exit_status(train.main) == 0
    assert ("\nanchors: those of the model, which reach" in capsys.readouterr().out) == (name != "fcos")
    predictor = load_model(str(tmp_path / "run" / "last.safetensors"), device="cpu", threshold=0.0)
    (found,) = predictor([make_image((90, 120), 1)])
    assert set(found.labels.tolist()) <= {1, 2, 3} and found.masks is None


@pytest.mark.parametrize("name", ["ssd300", "ssdlite", "keypointrcnn"])
def test_detectors_that_cannot_be_trained_are_rejected(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--model", name])
    assert exit_status(train.main) == 2
    assert name in (said := capsys.readouterr().err) and "retinanet" in said and len(said.splitlines()) == 1
