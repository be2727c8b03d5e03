"""RetinaNet and FCOS: fine-tuned like the others, from published weights whose heads repeat the classes per anchor."""

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
    """Published weights with the number of its class and anchor in the place of each bias that scores one."""
    classes, rows = pretrained.coco_classes(DETECTORS[name].weights)
    state = build(detector_architecture(name, 64), 91).state_dict()
    by_anchor = torch.arange(ANCHORS[name])[:, None] * 1000.0
    state[f"{LOGITS}.bias"] = (by_anchor + torch.arange(91.0)).flatten()
    return Weights("coco", old_names(state) if name == "retinanet" else state, classes, rows)


@pytest.mark.parametrize("name", ONE_STAGE)
def test_rows_of_known_classes_go_over_for_every_anchor(name, capsys):
    weights = coco(name)
    assert weights.is_detector
    classes = ClassNames(("toothbrush", "martian", "person"))
    model, architecture, words = pretrained.build_from_weights(detector_architecture(name, 64), classes, weights)
    bias = model.state_dict()[f"{LOGITS}.bias"].view(ANCHORS[name], 4)
    for anchor, (_, brush, martian, person) in enumerate(bias.tolist()):
        assert (brush, person) == (1000 * anchor + 90, 1000 * anchor + 1)
        assert -6 < martian < -4  # as new ones start: one in a hundred
    assert (architecture.norm, architecture.norm_eps) == ("frozen", DETECTORS[name].norm_eps)
    assert "new for martian" in words and "not used" not in words and not capsys.readouterr().err

    own = build(detector_architecture(name, 64), 91)
    own.load_state_dict(weights.state)  # torchvision renames by itself
    for key, tensor in model.state_dict().items():
        assert LOGITS in key or torch.equal(tensor, own.state_dict()[key]), key


@pytest.mark.parametrize("name", ONE_STAGE)
def test_heads_of_unknown_classes_are_new(name):
    weights = coco(name)
    model, _, _ = pretrained.build_from_weights(detector_architecture(name, 64), CLASSES, Weights("x", weights.state))
    assert model.state_dict()[f"{LOGITS}.bias"].max() < -4


@pytest.mark.parametrize(("name", "other"), [ONE_STAGE, ONE_STAGE[::-1]])
def test_the_heads_of_the_one_are_nothing_for_the_other(name, other, tmp_path):
    """Their tensors have the same names, and other numbers of anchors."""
    architecture = detector_architecture(other, 64)
    saved = as_checkpoint(random_model(architecture), architecture)
    checkpoint.save(saved, tmp_path / "other.safetensors")
    weights = pretrained.read(tmp_path / "other.safetensors")
    model, _, _ = pretrained.build_from_weights(detector_architecture(name, 64), CLASSES, weights)
    for key, tensor in model.state_dict().items():
        if key.startswith("head."):
            assert tensor.ndim < 4 or all(not torch.equal(tensor, theirs) for theirs in saved.state.values()), key
        elif key.startswith("backbone.body.") and not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, saved.state[key]), key


@pytest.mark.parametrize("name", ONE_STAGE)
def test_a_step_moves_every_loss_and_the_head(name):
    model = build(detector_architecture(name, 64), 1 + len(CLASSES))
    before = model.state_dict()[f"{LOGITS}.weight"].clone()
    losses = train_one_step(model)
    assert {"classification", "bbox_regression"} <= set(losses) and all(torch.isfinite(v) for v in losses.values())
    assert not torch.equal(before, model.state_dict()[f"{LOGITS}.weight"])


def test_a_checkpoint_of_ours_gives_all_of_it_to_the_next_training(tmp_path):
    architecture = detector_architecture("fcos", 64)
    saved = as_checkpoint(random_model(architecture), architecture)
    checkpoint.save(saved, tmp_path / "fcos.safetensors")
    weights = pretrained.read(tmp_path / "fcos.safetensors")
    model, _, words = pretrained.build_from_weights(architecture, CLASSES, weights)
    assert all(torch.equal(tensor, saved.state[key]) for key, tensor in model.state_dict().items())
    assert "not used" not in words


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ONE_STAGE, "retinanet_v2", "mobilenet"])
def test_train_py_fine_tunes_it(name, tmp_path, monkeypatch, capsys):
    data = render_shapes(tmp_path, {"train": 2, "val": 1})
    flags = ["--data", data, "--model", name, "--pretrained", "none", "--imgsz", "96", "--epochs", "1", "--lr", "1e-4"]
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, flags), "--output-dir", str(tmp_path), "--name", "run"])
    monkeypatch.setattr(runtime, "default_workers", lambda: 0)
    assert exit_status(train.main) == 0
    assert ("anchors reach" in capsys.readouterr().out) == (name != "fcos")
    predictor = load_model(str(tmp_path / "run" / "last.safetensors"), device="cpu", threshold=0.0)
    (found,) = predictor([make_image((90, 120), 1)])
    assert set(found.labels.tolist()) <= {1, 2, 3} and found.masks is None


@pytest.mark.parametrize("name", ["ssd300", "ssdlite", "keypointrcnn"])
def test_models_for_inference_alone_are_not_offered_for_training(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--model", name])
    assert exit_status(train.main) == 2
    assert name in (said := capsys.readouterr().err) and "retinanet" in said and len(said.splitlines()) == 1
