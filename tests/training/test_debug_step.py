"""A failed step can be repeated from its file, and the report shows where it went wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.folders import ROOT
from helpers.tiny_models import TINY_ARCHITECTURE, make_image, random_model, target
from safetensors import safe_open

from detect.errors import CheckpointError
from detect.models import checkpoint
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.training.debug_step import analyze_failed_step, save_failed_step
from detect.training.optimizer import build_optimizer, build_schedule
from detect.training.step import TrainStep

CPU = torch.device("cpu")
FROZEN = replace(TINY_ARCHITECTURE, norm="frozen")


def item(seed: int, boxes: list[list[float]], image_id: int):
    image = torch.from_numpy(make_image((64, 96), seed)).permute(2, 0, 1) / 255
    return [image], [target((64, 96), boxes) | {"image_id": torch.tensor(image_id)}]


@pytest.fixture
def train_step() -> TrainStep:
    model = random_model(FROZEN)
    fuse_frozen_batch_norms(model)
    for p in model.backbone.body.parameters():
        p.requires_grad_(False)
    optimizer = build_optimizer(model, "sgd", 0.01, 0.0)
    return TrainStep(model, optimizer, build_schedule(optimizer, "cosine", 10, 0), seed=3)


def saved(train_step, batches, seeds, path):
    run = SimpleNamespace(train_step=train_step, architecture=FROZEN, class_names=("circle", "square", "triangle"))
    save_failed_step(path, run, batches, seeds, {1: "a.jpg", 2: "b.jpg"})
    return path


def test_a_repeated_step_has_the_same_losses(train_step, tmp_path):
    batches = [item(1, [[5, 5, 40, 45]], 1), item(2, [[10, 8, 70, 50], [0, 0, 9.5, 30]], 2)]
    seeds = [(4, 0), (4, 1)]
    path = saved(train_step, batches, seeds, tmp_path / "step.pt")
    result = train_step(batches, seeds)
    report = analyze_failed_step(path, CPU)
    first, second = report.split("\n\nbatch of ")[1:]
    assert first.startswith("a.jpg\n") and second.startswith("b.jpg\n")
    assert report.startswith("weights: all finite")
    for losses, lines in zip(result.batch_losses, (first, second), strict=True):
        for name, value in losses.items():
            assert f"{value:12.4g}  {name}\n" in lines
    assert "b.jpg: 96x64, values " in second and "2 boxes, smallest side 9.50 px" in second and " 1 box, " in first
    assert "backbone.fpn" in first and "backbone.body" not in first and "not finite" not in report


def test_the_gradient_norms_of_the_parts_add_up_to_the_total(train_step, tmp_path):
    batches = [item(1, [[5, 5, 40, 45]], 1)]
    path = saved(train_step, batches, [(0, 0)], tmp_path / "step.pt")
    norm = train_step(batches, [(0, 0)]).gradient_norm
    lines = analyze_failed_step(path, CPU).partition("gradient norms\n")[2].splitlines()
    *parts, total = (float(line.split()[0]) for line in lines)
    assert total == pytest.approx(norm, rel=1e-3) == pytest.approx(math.hypot(*parts), rel=1e-3)


def test_the_first_layer_with_an_output_that_is_not_finite_is_named(train_step, tmp_path):
    with torch.no_grad():
        train_step.model.backbone.fpn.inner_blocks[1][0].bias[0] = float("nan")
    path = saved(train_step, [item(1, [[5, 5, 40, 45]], 1)], [(0, 0)], tmp_path / "step.pt")
    report = analyze_failed_step(path, CPU)
    assert "weights: not finite in backbone.fpn.inner_blocks.1.0.bias" in report
    assert "first layer whose output is not finite: backbone.fpn.inner_blocks.1.0\n" in report


def test_an_image_with_an_infinite_value_shows_in_its_range(train_step, tmp_path):
    images, targets = item(1, [[5, 5, 40, 45]], 1)
    images[0][0, 3, 3] = float("inf")
    report = analyze_failed_step(saved(train_step, [(images, targets)], [(0, 0)], tmp_path / "step.pt"), CPU)
    assert " to inf, 1 box," in report
    assert "first layer whose output is not finite: backbone.body" in report


def test_another_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"step\.pt"):
        analyze_failed_step(tmp_path / "step.pt", CPU)
    checkpoint.save_training_state({"model": {}}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"state\.pt does not hold a failed step.*architecture, batches"):
        analyze_failed_step(tmp_path / "state.pt", CPU)


OLD_CHECKPOINT = ROOT / "tests" / "models" / "fixtures" / "checkpoint_format_2.safetensors"


def test_a_replay_file_of_version_0_1_gives_the_losses_that_it_gave_then(tmp_path):
    pytest.importorskip("timm")
    with safe_open(OLD_CHECKPOINT, framework="pt") as file:
        architecture = json.loads(file.metadata()["detect"])["architecture"] | {"norm": "frozen"}
        weights = {name: file.get_tensor(name) for name in file.keys() if "num_batches" not in name}  # noqa: SIM118
    assert "taps" in architecture  # a key of that version
    torch.manual_seed(5)
    image = torch.rand(3, 32, 48)
    boxes = target((32, 48), [[8, 5, 30, 25]]) | {"labels": torch.tensor([2]), "image_id": torch.tensor(7)}
    values = {
        "architecture": architecture,
        "num_rows": 4,
        "model": weights,
        "trained": [name for name in weights if not name.startswith("backbone.body")],
        "batches": [([image], [boxes])],
        "seeds": [[1, 8]],
        "seed": 3,
        "dtype": None,
        "files": [["kite.jpg"]],
    }
    torch.save(values, tmp_path / "replay_2_8_0.pt")
    report = analyze_failed_step(tmp_path / "replay_2_8_0.pt", CPU)
    then = {
        "loss_classifier": 1.156,
        "loss_box_reg": 0.00214,
        "loss_mask": 0.6283,
        "loss_objectness": 0.6922,
        "loss_rpn_box_reg": 0.003433,
        "loss": 2.482,
    }
    lines = [line.split() for line in report.splitlines()]
    now = {line[1]: float(line[0]) for line in lines if len(line) == 2 and line[1].startswith("loss")}
    assert "batch of kite.jpg" in report and now == pytest.approx(then, rel=1e-2)
