"""Learning rate schedules by their values, and what decays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detect.training.config import OPTIMIZERS, SCHEDULES
from detect.training.optimizer import build_ema, build_optimizer, build_schedule


def rates(name: str, total: int, warmup: int) -> list[float]:
    """The factor on the learning rate at each step."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, name, total, warmup)
    found = []
    for _ in range(total):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_evenly_from_near_zero_to_one(name):
    assert rates(name, 100, 9)[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_short_run_spends_at_most_half_on_the_warm_up(name):
    found = rates(name, 8, 100)
    assert found[:4] == sorted(found[:4]) and found[4] == pytest.approx(1.0)


def test_cosine_falls_from_one_through_the_middle_to_a_hundredth():
    found = rates("cosine", 1000, 0)
    assert found[0] == 1.0
    assert found[500] == pytest.approx(0.505)
    assert found[-1] == pytest.approx(0.01, abs=1e-4)
    assert found == sorted(found, reverse=True)


def test_multistep_falls_to_a_tenth_twice():
    assert rates("multistep", 9, 0) == pytest.approx([1.0] * 6 + [0.1] * 2 + [0.01])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_only_matrices_and_filters_decay_and_frozen_parameters_are_left_alone(name):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    model[3].weight.requires_grad_(False)
    groups = build_optimizer(model, name, lr=0.5, weight_decay=0.1).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {
        id(p): 0.1 if p.ndim > 1 else 0.0 for p in model.parameters() if p is not model[3].weight
    }  # fmt: skip
    assert {group["lr"] for group in groups} == {0.5}


def test_the_average_follows_the_weights_and_their_statistics():
    """From (1 + n) / (10 + n) up to the decay, by hand; and it is another module, which training does not move."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = build_ema(model, 0.25)
    expected = None
    for step in range(6):
        with torch.no_grad():
            model[0].weight.fill_(float(step))
            model[1].running_mean.fill_(float(-step))
            model[1].num_batches_tracked.fill_(step)
        average.update_parameters(model)
        kept = min(0.25, (1 + step) / (10 + step))
        expected = float(step) if expected is None else kept * expected + (1 - kept) * step
        assert average.module[0].weight.item() == pytest.approx(expected)
        assert average.module[1].running_mean.item() == pytest.approx(-expected)
        assert average.module[1].num_batches_tracked.item() == step
