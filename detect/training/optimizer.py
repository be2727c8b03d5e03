"""Optimizer and learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel


def build_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> Optimizer:
    """SGD with momentum 0.9 or AdamW, without decay on biases and norms (vectors), which only need to be right."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=lr)


def build_schedule(optimizer: Optimizer, name: str, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Linear warm-up over ``warmup_steps``, then a cosine to 1 % (Loshchilov & Hutter, arXiv 1608.03983) or a tenth
    after 2/3 and again after 8/9 of the steps (the proportions of Detectron's 1x schedule)."""
    warmup_steps = min(warmup_steps, total_steps // 2)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "multistep":
            return 0.1 ** sum(step >= total_steps * part for part in (2 / 3, 8 / 9))
        done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, factor)


def rate_due(schedule: LambdaLR) -> float:
    """The learning rate that a schedule has for the step that it is at."""
    return float(schedule.base_lrs[0]) * schedule.lr_lambdas[0](schedule.last_epoch)


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``model`` whose weights follow its own as an exponential moving average (Polyak & Juditsky, 1992).

    decay: what is kept of the average at a step, 0..1. The first step sets the average; then it
    rises to that from 2/11, as (1 + n) / (10 + n) after n steps, so that the random weights of the first ones are soon
    forgotten.
    """

    def follow(averages: Sequence[Tensor], now: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        for average, value in zip(averages, now, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - kept)
            else:  # counters
                average.copy_(value)

    return AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
