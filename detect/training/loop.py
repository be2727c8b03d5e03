"""The loops: one epoch of training, the losses on a split, one pass of evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import Dataset
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detect import distributed
from detect.progress import bar
from detect.runtime import seed_all
from detect.training.amp import mixed
from detect.training.step import Batch, Learner, Step


@dataclass
class Progress:
    """How far an epoch is.

    batches: done, of all processes.  steps: with losses that were finite, and sums of every loss over them.
    skipped: steps that were not taken since something was not finite.
    """

    batches: int = 0
    steps: int = 0
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """The mean of every loss and of their sum (``loss``), nan where no step could be taken."""
        return {name: total / self.steps for name, total in self.sums.items()} or {"loss": math.nan}

    def shared(self) -> Progress:
        """A copy with the mean of the sums of all processes."""
        everywhere = distributed.gathered(self.sums)
        return replace(self, sums={name: sum(one[name] for one in everywhere) / len(everywhere) for name in self.sums})

    def add(self, step: Step, batches: int) -> None:
        """Count a step on so many ``batches``."""
        self.batches += batches
        if step.failed:
            self.skipped += 1
            return
        self.steps += 1
        for name, value in step.losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


def train_one_epoch(
    learner: Learner,
    batches: Iterable[Batch],
    *,
    epoch: int = 0,
    accumulate: int = 1,
    progress: Progress | None = None,
    on_step: Callable[[Step, list[Batch], Progress], None] = lambda *_: None,
) -> dict[str, float]:
    """Train on this process' batches once, ``accumulate`` of them a step; returns the mean of every loss, over all
    processes.

    progress: of an epoch that was begun before; ``batches`` are those that are left.
    on_step: is called after every step, also one that was not taken since something was not finite.
    """
    here = distributed.world()
    progress = progress or Progress()
    for members in _in_groups(batches, accumulate):
        # Batches are counted over all processes: this one has every size-th of them.
        first = progress.batches + here.rank
        seeds = [(epoch, first + i * here.size) for i in range(len(members))]
        step = learner.step(members, seeds)
        progress.add(step, len(members) * here.size)
        on_step(step, members, progress)
    means = distributed.gathered(progress.means())
    return {name: sum(one[name] for one in means) / len(means) for name in means[0]}


def _in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    left = iter(batches)
    while group := list(islice(left, size)):
        yield group


@torch.no_grad()
def validation_losses(
    model: nn.Module,
    dataset: Dataset,
    *,
    device: torch.device,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    title: str = "",
) -> dict[str, float]:
    """The mean over the images of ``dataset`` of every loss and of their sum (``loss``).

    dtype: of the layers in mixed precision, as in training.

    Norms and dropout work as in evaluation, and the samplers of the losses draw the same regions every time, so that
    the figures of two epochs differ by the weights alone.
    """
    here = distributed.world()
    was_training = model.training
    for module in model.train().modules():
        # A transform resizes in evaluation, and what has parts decides by its mode whether to give losses; but timm's
        # norms have parts too.
        is_layer = not list(module.children()) and not isinstance(module, GeneralizedRCNNTransform)
        if is_layer or isinstance(module, _BatchNorm):
            module.eval()
    rows = {}
    indices = range(here.rank, len(dataset), here.size)  # type: ignore[arg-type]
    for i in bar(indices, desc=title):
        image, target = dataset[i]
        seed_all(seed, i)
        with mixed(model, dtype):
            losses = model([image.to(device)], [{k: v.to(device) for k, v in target.items()}])
        rows[i] = {name: float(value) for name, value in losses.items()}
    model.train(was_training)
    everywhere = {i: row for part in distributed.gathered(rows) for i, row in part.items()}
    means = {name: float(np.mean([everywhere[i][name] for i in sorted(everywhere)])) for name in everywhere[0]}
    return means | {"loss": sum(means.values())}
