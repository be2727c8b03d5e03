"""Optimizer, learning rate schedule and exponential moving average (EMA) of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel


def build_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> Optimizer:
    """Return an optimizer for the trainable parameters of ``model``.

    name: ``sgd`` (momentum 0.9) or ``adamw``.
    weight_decay: applies to weights only; biases and the parameters of norms (all 1-D tensors) are not decayed.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=lr)


def build_schedule(optimizer: Optimizer, name: str, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Return a learning rate schedule with linear warm-up, to be advanced once per optimizer step.

    name: ``cosine`` falls to 1 % (Loshchilov & Hutter, https://arxiv.org/abs/1608.03983); ``multistep`` divides the
        rate by 10 after 2/3 and after 8/9 of the steps (the proportions of Detectron's 1x schedule).
    warmup_steps: at most half of ``total_steps``; larger values are reduced.
    """
    warmup_steps = min(warmup_steps, total_steps // 2)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if name == "multistep":
            return 0.1 ** sum(step >= total_steps * part for part in (2 / 3, 8 / 9))
        done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
        return 0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, done))) / 2

    return LambdaLR(optimizer, factor)


def scheduled_lr(schedule: LambdaLR) -> float:
    """Return the learning rate that the schedule gives its next step."""
    return float(schedule.base_lrs[0]) * schedule.lr_lambdas[0](schedule.last_epoch)


def build_ema(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of ``model`` whose weights and buffers are the EMA of the model's (Polyak & Juditsky, 1992).

    decay: weight of the former average at each update, 0..1. The first update copies the model. After n updates the
        decay is at most (1 + n) / (10 + n), so that the weights of the first steps are soon forgotten.
    """

    def update(averages: Sequence[Tensor], current: Sequence[Tensor], num_updates: Tensor | int) -> None:
        now = min(decay, (1 + int(num_updates)) / (10 + int(num_updates)))
        for average, value in zip(averages, current, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - now)
            else:  # counters, such as num_batches_tracked
                average.copy_(value)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
