"""One epoch of training, and the losses of a validation batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import nn

from detect import distributed
from detect.models.torchvision_internals import BatchNorm, GeneralizedRCNNTransform
from detect.training.step import Batch, StepResult, TrainStep, compute_losses, mean_losses


@dataclass
class EpochProgress:
    """Position within an epoch.

    batches: number of batches that all processes together have finished.
    steps: number of steps with finite losses and gradients.
    skipped: number of steps that were skipped because a loss or the gradient was not finite.
    sums: sum over ``steps`` of each loss.
    """

    batches: int = 0
    steps: int = 0
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Return the mean of each loss and of their sum (``loss``); NaN if every step was skipped."""
        return {name: total / self.steps for name, total in self.sums.items()} or {"loss": math.nan}

    def averaged_over_processes(self) -> EpochProgress:
        """Return a copy in which each loss sum is the mean of the sums of all processes."""
        return replace(self, sums=mean_losses(distributed.all_gather(self.sums)))

    def add(self, result: StepResult, num_batches: int) -> None:
        """Add the losses of one step. ``num_batches`` is the number of batches it took, over all processes."""
        self.batches += num_batches
        if result.failed:
            self.skipped += 1
            return
        self.steps += 1
        for name, value in result.losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


OnStep = Callable[[StepResult, list[Batch], EpochProgress], None]
"""Function that is called after every step, including skipped ones."""


def train_one_epoch(
    train_step: TrainStep,
    batches: Iterable[Batch],
    *,
    epoch: int = 0,
    accumulate: int = 1,
    progress: EpochProgress | None = None,
    on_step: OnStep = lambda *_: None,
) -> dict[str, float]:
    """Train once on this process' batches and return the mean of each loss over all processes.

    epoch: number of the epoch, from 0; it seeds the random draws inside the model.
    accumulate: number of batches per step.
    progress: position in an epoch that is resumed; ``batches`` must hold the remaining batches only. It is updated.
    """
    here = distributed.world()
    progress = progress or EpochProgress()
    for members in _in_groups(batches, accumulate):
        # Batches are numbered over all processes; this process has every world.size-th one.
        first = progress.batches + here.rank
        seeds = [(epoch, first + i * here.size) for i in range(len(members))]
        result = train_step(members, seeds)
        progress.add(result, len(members) * here.size)
        on_step(result, members, progress)
    return mean_losses(distributed.all_gather(progress.means()))


def _in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    remaining = iter(batches)
    while group := list(islice(remaining, size)):
        yield group


@torch.no_grad()
def validation_losses(model: nn.Module, batch: Batch, *, dtype: torch.dtype | None = None) -> dict[str, float]:
    """Return the losses of one batch.

    Norms and dropout run in evaluation mode. The proposals that the losses sample are random.
    dtype: type of the layers in mixed precision, as in training.
    """
    was_training = model.training
    _set_mode_for_losses(model)
    losses = compute_losses(model, batch, dtype)
    model.train(was_training)
    return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))


def _set_mode_for_losses(model: nn.Module) -> None:
    """Put the layers into evaluation mode and the modules that compute losses into training mode.

    The transform stays in training mode too, where it does not resize. timm's norms have children, so they are
    recognized by their class.
    """
    for module in model.train().modules():
        is_layer = not list(module.children()) and not isinstance(module, GeneralizedRCNNTransform)
        if is_layer or isinstance(module, BatchNorm):
            module.eval()
