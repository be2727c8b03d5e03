"""A training run at any moment: what is trained, how far it is, and its files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

from detect import checkpoint
from detect.checkpoint import Checkpoint
from detect.errors import CheckpointError, warn
from detect.models.architecture import Architecture
from detect.runlog import MetricsLog
from detect.types import ClassNames

STATE = "last_state.pt"


@dataclass
class TrainingRun:
    """What ``--resume`` brings back, and how an epoch is kept.

    epoch: epochs finished.  best: the highest bbox AP on val so far (0..1, -1 before the first).
    facts: what the checkpoint's header says of the run's settings and data.
    average: the moving average of the model's weights, where there is one.
    """

    folder: Path
    model: GeneralizedRCNN
    architecture: Architecture
    class_names: ClassNames
    optimizer: Optimizer
    schedule: LRScheduler
    facts: dict[str, Any] = field(default_factory=dict)
    average: AveragedModel | None = None
    epoch: int = 0
    best: float = -1.0
    started: float = field(default_factory=time.monotonic)

    @property
    def result(self) -> GeneralizedRCNN:
        """The model that is scored and kept: the average where there is one."""
        return self.average.module if self.average else self.model

    def finish_epoch(self, losses: dict[str, float], metrics: dict[str, dict]) -> bool:
        """Write the epoch down: metrics.jsonl, last, and best where it is. Returns whether it is the best so far."""
        self.epoch += 1
        score = metrics["bbox"]["AP"]
        score = -1.0 if score is None else score  # no truth to score
        is_best = self.epoch == 1 or score > self.best
        self.best = max(self.best, score)
        now = Checkpoint(
            state=self.result.state_dict(),
            architecture=self.architecture.to_json(),
            class_names=self.class_names,
            training=self.facts["training"] | {"epoch": self.epoch},
            data=self.facts["data"],
            metrics={"val": metrics},
            versions=checkpoint.versions(),
        )
        if is_best:
            checkpoint.save(now, self.folder / "best.safetensors")
        checkpoint.save(now, self.folder / "last.safetensors")
        # The state alone says how far the run is, and is written last but for the log, which is cut to fit it.
        checkpoint.save_training_state(self._state(), self.folder / STATE)
        rate = self.schedule.get_last_lr()[0]
        seconds = round(time.monotonic() - self.started, 1)
        row = {"epoch": self.epoch, "lr": rate, "seconds": seconds, "losses": losses, "val": metrics}
        MetricsLog(self.folder / "metrics.jsonl").write(row)
        self.started = time.monotonic()
        return is_best

    @staticmethod
    def saved_state(folder: Path) -> dict[str, Any]:
        """What ``restore`` takes, from the folder of a run; CheckpointError where it is not one."""
        state = checkpoint.load_training_state(folder / STATE)
        if missing := {"epoch", "model", "optimizer", "schedule", "class_names", "train_sha256"} - set(state):
            raise CheckpointError(f"{folder / STATE} is not of a training run: it lacks {', '.join(sorted(missing))}")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, which ``checkpoint.load_training_state`` read."""
        if state["train_sha256"] != self.facts["data"]["train_sha256"]:
            warn(f"{self.folder}: the training pictures are no longer those of its first epochs")
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        # The functions of the schedule are the settings', not the state's; None keeps those it has.
        functions = [None] * len(self.optimizer.param_groups)
        self.schedule.load_state_dict({**state["schedule"], "lr_lambdas": functions})
        self.epoch, self.best = state["epoch"], state["best"]
        torch.set_rng_state(state["rng"])
        if len(state["cuda_rng"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        MetricsLog(self.folder / "metrics.jsonl").keep_until(self.epoch)

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "best": self.best,
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
