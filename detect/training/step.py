"""A model and all that changes with it at a step of training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from detect import distributed
from detect.runtime import seed_all
from detect.training.amp import mixed

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


@dataclass
class Step:
    """What a step came to: the mean of every loss and of their sum (``loss``), and the norm of all gradients.

    each: the losses of every batch by itself, whose draws ``seeds`` tell.  taken: whether the weights moved.
    failed: whether a loss or the gradient was not finite, here or in another process; a float16 gradient that
        overflows is no failure, though no step is taken with it.
    """

    losses: dict[str, float]
    norm: float
    each: list[dict[str, float]]
    seeds: Sequence[Sequence[int]]
    taken: bool
    failed: bool


@dataclass
class Learner:
    """Takes steps; ``state`` and ``restore`` carry it over to another process, bit for bit.

    model: the detector.  average: follows its weights.  clip: largest norm of all gradients together, 0 for no limit.
    seed: with the step's place in training it decides what the model itself draws (torchvision's samplers do), so
        that neither a restart nor the number of processes changes it.
    dtype: of the layers in mixed precision, None for float32 throughout.
    """

    model: nn.Module
    optimizer: Optimizer
    schedule: LambdaLR
    average: AveragedModel | None = None
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
        """The learning rate of the last step that was taken; before it that of the first."""
        taken = max(0, self.schedule.last_epoch - 1)
        return float(self.schedule.base_lrs[0] * self.schedule.lr_lambdas[0](taken))

    def step(self, batches: Sequence[Batch], seeds: Sequence[Sequence[int]]) -> Step:
        """One step on the mean of the losses of ``batches``, which need memory for one at a time.

        seeds: for each batch, what else than ``seed`` its draws depend on. Where a loss or the gradient is not finite
        nothing changes, in any of the processes.
        """
        self.model.train()
        statistics = [(b, b.clone()) for m in self.model.modules() if isinstance(m, _BatchNorm) for b in m.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        each = [
            self._backward(batch, where, len(batches), is_last=i == len(batches))
            for i, (batch, where) in enumerate(zip(batches, seeds, strict=True), start=1)
        ]
        self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip or math.inf)
        figures = [*(torch.stack(list(one.values())) for one in each), norm.expand(len(each[0]))]
        *rows, norms = torch.stack(figures).tolist()  # one wait for the device

        losses = [dict(zip(each[0], row, strict=True)) for row in rows]
        is_finite = all(math.isfinite(one["loss"]) for one in losses)
        can_scale_down = self._scaler.is_enabled() and self._scaler.get_scale() > 1
        overflow = is_finite and not math.isfinite(norms[0]) and can_scale_down
        failed = distributed.is_any(not is_finite or not (math.isfinite(norms[0]) or overflow))
        if failed or overflow:
            for buffer, former in statistics:
                buffer.copy_(former)
        if failed:
            self.optimizer.zero_grad(set_to_none=True)
        else:
            self._scaler.step(self.optimizer)  # which takes none after an overflow
        self._scaler.update()
        if taken := not failed and not overflow:
            self.schedule.step()
            if self.average:
                self.average.update_parameters(self.model)
        means = {name: sum(one[name] for one in losses) / len(losses) for name in losses[0]}
        return Step(means, norms[0], losses, seeds, taken, failed)

    def _backward(self, batch: Batch, seed: Sequence[int], of: int, *, is_last: bool) -> dict[str, Tensor]:
        """Add the gradient of a batch's losses, one of ``of``; returns the losses."""
        images, targets = batch
        seed_all(self.seed, *seed)
        forward = self._parallel or self.model
        # Gradients go to the other processes once a step.
        alone = self._parallel.no_sync() if self._parallel and not is_last else nullcontext()
        with alone:
            with mixed(self.model, self.dtype):
                losses = forward(
                    [image.to(self.device, non_blocking=True) for image in images],
                    [{k: v.to(self.device, non_blocking=True) for k, v in target.items()} for target in targets],
                )
            loss = torch.stack(list(losses.values())).sum()
            self._scaler.scale(loss / of).backward()
        return {name: value.detach() for name, value in {**losses, "loss": loss}.items()}

    def state(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "scaler": self._scaler.state_dict(),
            **({"average": self.average.state_dict()} if self.average else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Become what ``state`` was taken of, but for the functions of the schedule, which are the settings'."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        functions = [None] * len(self.optimizer.param_groups)  # None keeps those it has
        self.schedule.load_state_dict({**state["schedule"], "lr_lambdas": functions})
        if scaler := state.get("scaler"):
            self._scaler.load_state_dict(scaler)
