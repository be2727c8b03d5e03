"""Learning rate schedules, weight decay and the EMA, by their values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detect.training.config import OPTIMIZERS, SCHEDULES
from detect.training.optimizer import build_ema, build_optimizer, build_schedule


def rates(name: str, total: int, warmup: int) -> list[float]:
    """Return the factor on the learning rate at each step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, name, total, warmup)
    found = []
    for _ in range(total):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_is_linear(name):
    assert rates(name, 100, 9)[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_takes_at_most_half_of_the_steps(name):
    found = rates(name, 8, 100)
    assert found[:4] == sorted(found[:4]) and found[4] == pytest.approx(1.0)


def test_cosine_schedule_falls_to_one_percent():
    found = rates("cosine", 1000, 0)
    assert found[0] == 1.0
    assert found[500] == pytest.approx(0.505)
    assert found[-1] == pytest.approx(0.01, abs=1e-4)
    assert found == sorted(found, reverse=True)


def test_multistep_schedule_divides_by_ten_twice():
    assert rates("multistep", 9, 0) == pytest.approx([1.0] * 6 + [0.1] * 2 + [0.01])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_and_norms_are_not_decayed_and_frozen_parameters_not_optimized(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model[3].weight.requires_grad_(False)
    groups = build_optimizer(model, name, lr=0.5, weight_decay=0.1).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {
        id(p): 0.1 if p.ndim > 1 else 0.0 for p in model.parameters() if p is not model[3].weight
    }  # fmt: skip
    assert {group["lr"] for group in groups} == {0.5}


def test_the_ema_follows_weights_and_statistics():
    """Compared with the formula: the decay is min(decay, (1 + n) / (10 + n)) after n updates."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    ema = build_ema(model, 0.25)
    expected = None
    for step in range(6):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
            model[1].running_mean.fill_(float(-step))
            model[1].num_batches_tracked.fill_(step)
        ema.update_parameters(model)
        kept = min(0.25, (1 + step) / (10 + step))
        expected = float(step) if expected is None else kept * expected + (1 - kept) * step
        assert ema.module[0].weight.item() == pytest.approx(expected)
        assert ema.module[1].running_mean.item() == pytest.approx(-expected)
        assert ema.module[1].num_batches_tracked.item() == step
