"""One optimizer step: forward and backward passes, gradient clipping, weight update, schedule and EMA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from detect import distributed
from detect.models.torchvision_internals import BatchNorm
from detect.runtime import seed_all
from detect.training.amp import autocast_layers

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]
"""Images, each float32 [3, H, W] in 0..1, and their targets, as torchvision's detectors take them in training."""


def compute_losses(
    model: nn.Module, batch: Batch, dtype: torch.dtype | None, forward: nn.Module | None = None
) -> dict[str, Tensor]:
    """Return the losses of one batch.

    dtype: 16-bit type of the layers in mixed precision; None for float32.
    forward: wrapper of ``model`` to call instead, such as DistributedDataParallel.
    """
    device = next(model.parameters()).device
    images, targets = batch
    with autocast_layers(model, dtype):
        return (forward or model)(
            [image.to(device, non_blocking=True) for image in images],
            [{k: v.to(device, non_blocking=True) for k, v in target.items()} for target in targets],
        )


def mean_losses(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over ``rows``, which have the same keys."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


@dataclass
class StepResult:
    """Outcome of one optimizer step.

    losses: mean over the batches of each loss and of their sum (``loss``).
    gradient_norm: L2 norm of all gradients together, before clipping.
    batch_losses: losses of each batch.
    seeds: numbers that seeded the random draws of each batch, as passed to ``TrainStep``.
    taken: whether the weights were updated.
    failed: whether a loss or the gradient was not finite in any process. A float16 gradient that overflows only
        lowers the loss scale: the step is not taken, but it did not fail.
    """

    losses: dict[str, float]
    gradient_norm: float
    batch_losses: list[dict[str, float]]
    seeds: Sequence[Sequence[int]]
    taken: bool
    failed: bool


@dataclass
class TrainStep:
    """A model with everything that an optimizer step changes; calling it takes one step.

    model: detector that is trained.
    optimizer, schedule: torch optimizer and its learning rate schedule.
    ema: exponential moving average of the weights, or None.
    clip: maximum L2 norm of all gradients together; 0 for no limit.
    seed: combined with the seeds of a batch, it determines the random draws inside the model (torchvision samples
        proposals), so that neither a restart nor the number of processes changes them.
    dtype: 16-bit type of the layers in mixed precision; None for float32.

    ``state_dict`` and ``load_state_dict`` continue training in another process with bit-identical results.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    ema: AveragedModel | None = None
    clip: float = 0.0
    seed: int = 0
    dtype: torch.dtype | None = None
    _scaler: torch.amp.GradScaler = field(init=False)
    _parallel: DistributedDataParallel | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        if distributed.world().size > 1:
            self._parallel = DistributedDataParallel(
                self.model, device_ids=[self.device] if self.device.type == "cuda" else None
            )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def lr(self) -> float:
        """Learning rate of the last step that was taken; before the first step, the rate of the first step."""
        last = max(0, self.schedule.last_epoch - 1)
        return float(self.schedule.base_lrs[0] * self.schedule.lr_lambdas[0](last))

    @property
    def num_steps(self) -> int:
        """Number of steps taken so far."""
        return self.schedule.last_epoch

    def __call__(self, batches: Sequence[Batch], seeds: Sequence[Sequence[int]]) -> StepResult:
        """Take one step on the mean loss of ``batches``, with memory for one batch at a time.

        seeds: for each batch, numbers that its random draws depend on, besides ``seed``.
        If a loss or the gradient is not finite in any process, no process changes its model.
        """
        self.model.train()
        statistics = [(b, b.clone()) for m in self.model.modules() if isinstance(m, BatchNorm) for b in m.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        tensors = [
            self._backward(batch, batch_seeds, len(batches), is_last=i == len(batches))
            for i, (batch, batch_seeds) in enumerate(zip(batches, seeds, strict=True), start=1)
        ]
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip or math.inf)
        # One transfer for all values, since each one waits for the device.
        values = [*(torch.stack(list(one.values())) for one in tensors), norm.expand(len(tensors[0]))]
        *rows, norms = torch.stack(values).tolist()

        batch_losses = [dict(zip(tensors[0], row, strict=True)) for row in rows]
        is_finite = all(math.isfinite(one["loss"]) for one in batch_losses)
        can_scale_down = self._scaler.is_enabled() and self._scaler.get_scale() > 1
        overflow = is_finite and not math.isfinite(norms[0]) and can_scale_down
        failed = distributed.any_process(not is_finite or not (math.isfinite(norms[0]) or overflow))
        if failed or overflow:
            for buffer, former in statistics:
                buffer.copy_(former)
        if failed:
            self.optimizer.zero_grad(set_to_none=True)
        else:
            self._scaler.step(self.optimizer)  # skips the update after an overflow
        self._scaler.update()
        if taken := not failed and not overflow:
            self.schedule.step()
            if self.ema:
                self.ema.update_parameters(self.model)
        return StepResult(mean_losses(batch_losses), norms[0], batch_losses, seeds, taken, failed)

    def _backward(self, batch: Batch, seeds: Sequence[int], num_batches: int, *, is_last: bool) -> dict[str, Tensor]:
        """Add the gradient of one batch, divided by ``num_batches``; return the losses of the batch."""
        seed_all(self.seed, *seeds)
        # DDP averages the gradients over all processes once per step, with the last batch.
        without_sync = self._parallel.no_sync() if self._parallel and not is_last else nullcontext()
        with without_sync:
            losses = compute_losses(self.model, batch, self.dtype, forward=self._parallel)
            loss = torch.stack(list(losses.values())).sum()
            self._scaler.scale(loss / num_batches).backward()
        return {name: value.detach() for name, value in {**losses, "loss": loss}.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "scaler": self._scaler.state_dict(),
            **({"ema": self.ema.state_dict()} if self.ema else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from ``state_dict``. The function of the schedule comes from the settings and is kept."""
        self.model.load_state_dict(state["model"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        functions = [None] * len(self.optimizer.param_groups)  # None keeps the current function
        self.schedule.load_state_dict({**state["schedule"], "lr_lambdas": functions})
        if scaler := state.get("scaler"):
            self._scaler.load_state_dict(scaler)
