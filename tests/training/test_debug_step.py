"""A step that failed can be taken again, from a file, and shows where it went wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers.tiny_models import TINY_ARCHITECTURE, make_image, random_model, target

from detect.errors import CheckpointError
from detect.models import checkpoint
from detect.models.cpu.fuse_bn import fuse_frozen_batch_norms
from detect.training.debug_step import keep, replay
from detect.training.optimizer import build_optimizer, build_schedule
from detect.training.step import TrainStep

CPU = torch.device("cpu")
FROZEN = replace(TINY_ARCHITECTURE, norm="frozen")


def item(seed: int, boxes: list[list[float]], image_id: int):
    image = torch.from_numpy(make_image((64, 96), seed)).permute(2, 0, 1) / 255
    return [image], [target((64, 96), boxes) | {"image_id": torch.tensor(image_id)}]


@pytest.fixture
def learner() -> TrainStep:
    model = random_model(FROZEN)
    fuse_frozen_batch_norms(model)
    for p in model.backbone.body.parameters():
        p.requires_grad_(False)
    optimizer = build_optimizer(model, "sgd", 0.01, 0.0)
    return TrainStep(model, optimizer, build_schedule(optimizer, "cosine", 10, 0), seed=3)


def kept(learner, batches, seeds, path):
    keep(path, learner, batches, seeds, architecture=FROZEN, num_rows=4, files={1: "a.jpg", 2: "b.jpg"})
    return path


def test_a_step_taken_again_has_the_same_losses_to_the_last_digit(learner, tmp_path):
    batches = [item(1, [[5, 5, 40, 45]], 1), item(2, [[10, 8, 70, 50], [0, 0, 9.5, 30]], 2)]
    seeds = [(4, 0), (4, 1)]
    path = kept(learner, batches, seeds, tmp_path / "replay.pt")
    step = learner.step(batches, seeds)
    said = replay(path, CPU)
    first, second = said.split("\n\nbatch of ")[1:]
    assert (
        first.startswith("a.jpg\n")
        and second.startswith("b.jpg\n")
        and said.startswith("weights: all finite, the largest is ")
    )
    for losses, lines in zip(step.each, (first, second), strict=True):
        for name, value in losses.items():
            assert f"{value:12.4g}  {name}\n" in lines
    assert "b.jpg: 96x64, values " in second and "2 boxes, the smallest side 9.50 px" in second and " 1 box, " in first
    assert "backbone.fpn" in first and "backbone.body" not in first and "not finite" not in said


def test_the_norms_of_the_parts_add_up_to_that_of_all(learner, tmp_path):
    batches = [item(1, [[5, 5, 40, 45]], 1)]
    path = kept(learner, batches, [(0, 0)], tmp_path / "replay.pt")
    norm = learner.step(batches, [(0, 0)]).norm
    lines = replay(path, CPU).partition("norms of the gradient\n")[2].splitlines()
    *parts, whole = (float(line.split()[0]) for line in lines)
    assert whole == pytest.approx(norm, rel=1e-3) == pytest.approx(math.hypot(*parts), rel=1e-3)


def test_the_first_layer_that_is_not_finite_is_named(learner, tmp_path):
    with torch.no_grad():
        learner.model.backbone.fpn.inner_blocks[1][0].bias[0] = float("nan")
    path = kept(learner, [item(1, [[5, 5, 40, 45]], 1)], [(0, 0)], tmp_path / "replay.pt")
    said = replay(path, CPU)
    assert "weights: not finite in backbone.fpn.inner_blocks.1.0.bias, so an earlier step has spoiled them" in said
    assert "the first output that is not finite is that of backbone.fpn.inner_blocks.1.0\n" in said


def test_an_image_that_is_not_finite_shows_in_its_values(learner, tmp_path):
    images, targets = item(1, [[5, 5, 40, 45]], 1)
    images[0][0, 3, 3] = float("inf")
    said = replay(kept(learner, [(images, targets)], [(0, 0)], tmp_path / "replay.pt"), CPU)
    assert " to inf, 1 box," in said
    assert "the first output that is not finite is that of backbone.body" in said


def test_another_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        replay(tmp_path / "replay.pt", CPU)
    checkpoint.save_training_state({"model": {}}, tmp_path / "state.pt")
    with pytest.raises(
        CheckpointError, match=r"is not of a step to replay, as .* are: it lacks architecture, batches"
    ):
        replay(tmp_path / "state.pt", CPU)
