"""A finished run keeps a small state, from which more epochs still start at its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_run import SCORES, tiny_run, train
from torch import nn

from detect.errors import CheckpointError
from detect.models import checkpoint
from detect.structures.class_names import ClassNames
from detect.training.finished_state import completed, is_reduced, reduced
from detect.training.optimizer import build_ema, build_optimizer, build_schedule
from detect.training.run import TrainingRun
from detect.training.step import TrainStep


def trained_step(optimizer: str, *, with_ema: bool) -> TrainStep:
    """Return the objects of a training of a tiny network after three steps."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    used = build_optimizer(model, optimizer, 0.1, 0.01)
    ema = build_ema(model, 0.5) if with_ema else None
    step = TrainStep(model, used, build_schedule(used, "cosine", 10, 2), ema)
    for _ in range(3):
        model(torch.ones(2, 4)).square().sum().backward()
        used.step()
        step.schedule.step()
        if ema:
            ema.update_parameters(model)
    return step


def saved_state(step: TrainStep, folder: Path, epoch: int = 3) -> tuple[dict, Path]:
    """Return the state of the run, and the checkpoint of its last epoch."""
    weights = (step.ema.module if step.ema else step.model).state_dict()
    one = checkpoint.Checkpoint(
        state=weights, architecture={}, class_names=ClassNames(("a",)), training={"epoch": epoch}, data={}, metrics={},
        versions=checkpoint.versions(),
    )  # fmt: skip
    checkpoint.save(one, folder / "last.safetensors")
    return step.state_dict() | {"epoch": 3}, folder / "last.safetensors"


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("with_ema", [False, True])
def test_a_reduced_state_continues_with_the_weights_of_the_checkpoint(tmp_path, optimizer, with_ema):
    state, last = saved_state(trained_step(optimizer, with_ema=with_ema), tmp_path)
    small = reduced(state)
    assert is_reduced(small) and not is_reduced(state)
    assert not [value for value in small.values() if isinstance(value, torch.Tensor)]
    other = trained_step(optimizer, with_ema=with_ema)
    other.load_state_dict(completed(small, last))
    expected = state["ema"] if with_ema else {f"module.{name}": value for name, value in state["model"].items()}
    for name, tensor in other.model.state_dict().items():
        assert torch.equal(tensor, expected[f"module.{name}"])
    assert other.schedule.last_epoch == state["schedule"]["last_epoch"] and not other.optimizer.state_dict()["state"]
    assert other.optimizer.param_groups[0]["lr"] == state["optimizer"]["param_groups"][0]["lr"]
    if other.ema:
        assert int(other.ema.n_averaged) == 3 and torch.equal(other.ema.module.weight, other.model.weight)


def test_a_finished_run_with_an_ema_is_extended_from_its_average(tmp_path, monkeypatch):
    train(run := tiny_run(tmp_path, decay=0.5))
    average = {name: tensor.clone() for name, tensor in run.evaluated_model.state_dict().items()}
    assert not torch.equal(average["weight"], run.train_step.model.weight)
    TrainingRun.reduce_state(tmp_path)
    (other := tiny_run(tmp_path, decay=0.5)).restore(TrainingRun.load_state(tmp_path))
    for model in (other.train_step.model, other.evaluated_model):
        assert all(torch.equal(tensor, average[name]) for name, tensor in model.state_dict().items())
    assert (other.epoch, other.best_epoch, other.starts_without_momentum) == (3, 2, True)
    assert int(other.train_step.ema.n_averaged) == 6
    monkeypatch.setattr("helpers.tiny_run.SCORES", (*SCORES, 0.4))
    train(other)
    state = TrainingRun.load_state(tmp_path)
    assert (state["epoch"], state["best_epoch"]) == (4, 4) and int(state["ema"]["n_averaged"]) == 8
    assert torch.equal(checkpoint.load(tmp_path / "best.safetensors").state["weight"], state["ema"]["module.weight"])


def test_a_missing_checkpoint_and_one_of_another_epoch_are_errors(tmp_path):
    state, last = saved_state(trained_step("sgd", with_ema=False), tmp_path, epoch=2)
    with pytest.raises(CheckpointError, match="is of epoch 2, but the run has finished 3"):
        completed(reduced(state), last)
    last.unlink()
    with pytest.raises(CheckpointError, match="keeps its weights there alone"):
        completed(reduced(state), last)
