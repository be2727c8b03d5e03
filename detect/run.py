"""A training run at any moment: what is trained, how far it is, and its files."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from detect import checkpoint
from detect.checkpoint import Checkpoint
from detect.errors import CheckpointError, warn
from detect.files import remove_leftovers, write_bytes
from detect.models.architecture import Architecture
from detect.models.detectors import Detector
from detect.runlog import MetricsLog
from detect.types import ClassNames

STATE, LAST, BEST, LOG = "last_state.pt", "last.safetensors", "best.safetensors", "metrics.jsonl"
SETTINGS = "settings.yaml"
# What no state is without; an average is in those of runs that have one.
STATE_KEYS = (
    *("epoch", "best", "architecture", "class_names", "train_sha256"),
    *("model", "optimizer", "schedule", "rng", "cuda_rng"),
)
FILES = (STATE, LAST, BEST, LOG, SETTINGS)


@dataclass
class TrainingRun:
    """What ``--resume`` brings back, and how an epoch is kept.

    epoch: epochs finished.  best: the highest bbox AP on val so far (0..1, -1 before the first), and best_epoch
        the one that had it.
    facts: what the checkpoint's header says of the run's settings and data.
    average: the moving average of the model's weights, where there is one.
    """

    folder: Path
    model: Detector
    architecture: Architecture
    class_names: ClassNames
    optimizer: Optimizer
    schedule: LRScheduler
    facts: dict[str, Any] = field(default_factory=dict)
    average: AveragedModel | None = None
    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def result(self) -> Detector:
        """The model that is scored and kept: the average where there is one."""
        return self.average.module if self.average else self.model

    def finish_epoch(self, losses: dict[str, float], metrics: dict[str, dict]) -> bool:
        """Write the epoch down: metrics.jsonl, last, and best where it is. Returns whether it is the best so far.

        The epoch counts as finished once the state is written. What is written before it is written anew, to the
        same bytes, by a run that goes on from the state before; what comes after it ``restore`` makes up for. Raises
        DiskError, with the files of the epoch before in their places.
        """
        epoch = self.epoch + 1
        score = metrics["bbox"]["AP"]
        score = -1.0 if score is None else score  # no truth to score
        is_best = epoch == 1 or score > self.best
        best, best_epoch = (score, epoch) if is_best else (self.best, self.best_epoch)
        now = Checkpoint(
            state=self.result.state_dict(),
            architecture=self.architecture.to_json(),
            class_names=self.class_names,
            training=self.facts["training"] | {"epoch": epoch},
            data=self.facts["data"],
            metrics={"val": metrics},
            versions=checkpoint.versions(),
        )
        rate = self.schedule.get_last_lr()[0]
        seconds = round(time.monotonic() - self.started, 1)
        row = {"epoch": epoch, "lr": rate, "seconds": seconds, "losses": losses, "val": metrics}
        checkpoint.save(now, self.folder / LAST)
        MetricsLog(self.folder / LOG).write(row)
        progress = {"epoch": epoch, "best": best, "best_epoch": best_epoch}
        checkpoint.save_training_state(self._state() | progress, self.folder / STATE)
        self.epoch, self.best, self.best_epoch = epoch, best, best_epoch
        if is_best:
            checkpoint.save(now, self.folder / BEST)
        self.started = time.monotonic()
        return is_best

    def discard_if_empty(self) -> None:
        """Delete the settings and the folder of a run that came to nothing, so that the next one gets its name."""
        if not any((self.folder / name).exists() for name in (STATE, LAST)):
            with suppress(OSError):  # it costs a folder, and must not hide why the run ended
                (self.folder / SETTINGS).unlink()
                self.folder.rmdir()

    @staticmethod
    def saved_state(folder: Path) -> dict[str, Any]:
        """What ``restore`` takes, from the folder of a run; CheckpointError where it is not one."""
        state = checkpoint.load_training_state(folder / STATE)
        if missing := set(STATE_KEYS) - set(state):
            raise CheckpointError(f"{folder / STATE} is not of a training run: it lacks {', '.join(sorted(missing))}")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, which ``saved_state`` read, and tidy up after a run that was killed."""
        if state["train_sha256"] != self.facts["data"]["train_sha256"]:
            warn(f"{self.folder}: the training pictures are no longer those of its first epochs")
        self.model.load_state_dict(state["model"])
        if self.average:
            if "average" not in state:
                raise CheckpointError(f"{self.folder / STATE} has no moving average, which its settings ask for")
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        # The functions of the schedule are the settings', not the state's; None keeps those it has.
        functions = [None] * len(self.optimizer.param_groups)
        self.schedule.load_state_dict({**state["schedule"], "lr_lambdas": functions})
        self.epoch, self.best = state["epoch"], state["best"]
        self.best_epoch = state.get("best_epoch", 0)  # which early states do not tell
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        for name in FILES:
            remove_leftovers(self.folder / name)
        MetricsLog(self.folder / LOG).keep_until(self.epoch)
        self._make_up_for_best()

    def _make_up_for_best(self) -> None:
        """Where a run ended just after the state of its best epoch, that epoch's weights stand in last alone."""
        last, best = self.folder / LAST, self.folder / BEST
        if self.best_epoch == self.epoch and _epoch_of(last) == self.epoch != _epoch_of(best):
            write_bytes(best, last.read_bytes())

    def _state(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture.to_json(),
            "class_names": list(self.class_names.names),
            "model": self.model.state_dict(),
            **({"average": self.average.state_dict()} if self.average else {}),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {k: v for k, v in self.schedule.state_dict().items() if k != "lr_lambdas"},
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
            "train_sha256": self.facts["data"]["train_sha256"],
        }


def _epoch_of(path: Path) -> int | None:
    """The epoch whose weights a checkpoint holds; None where there is none to read."""
    try:
        return checkpoint.load(path).training.get("epoch")
    except CheckpointError:
        return None
