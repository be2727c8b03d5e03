"""A training run at any moment: what is trained, how far it is, and its files."""

from __future__ import annotations

import math
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from detect.distributed import world
from detect.errors import CheckpointError, UsageError
from detect.io.files import remove_leftovers, write_bytes
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.checkpoint import Checkpoint
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import first_few
from detect.training.logging.jsonl import MetricsLog
from detect.training.loop import Progress
from detect.training.step import Learner

STATE, LAST, BEST, LOG = "last_state.pt", "last.safetensors", "best.safetensors", "metrics.jsonl"
SETTINGS, CURVES, BOARD, REPLAYS = "settings.yaml", "curves.png", "tensorboard", "replay_*.pt"
LOCK = "lock"  # of a run that is being trained
# What no state is without; an average is in those of runs that have one.
STATE_KEYS = ("epoch", "best", "architecture", "class_names", "train_sha256", "model", "optimizer", "schedule")
FACTS = ("architecture", "class_names", "processes", "reasons", "settings")
FILES = (STATE, LAST, BEST, LOG, CURVES, SETTINGS)


@dataclass
class TrainingRun:
    """What ``--resume`` brings back, and how an epoch is kept.

    metric: by which an epoch is the best, a name in METRICS.
    facts: what the checkpoint's header says of the run's settings and data; reasons, those of fitted defaults; and
        settings, those that --resume compares.
    epoch: epochs finished.  within: how far the next one is, None before its first step was kept.
    best: the highest score so far (-inf before the first), and best_epoch the one that had it.
    started: when the running epoch was begun, by the clock that only grows; without the time that the run was stopped.
    """

    folder: Path
    learner: Learner
    architecture: Architecture
    class_names: ClassNames
    metric: str = "bbox_AP"
    facts: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    within: Progress | None = None
    best: float = -math.inf
    best_epoch: int = 0
    started: float = field(default_factory=time.monotonic)
    _lock: FileLock | None = None

    @property
    def result(self) -> nn.Module:
        """The model that is scored and kept: the average where there is one."""
        return self.learner.average.module if self.learner.average else self.learner.model

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch

    def finish_epoch(
        self,
        losses: dict[str, float],
        metrics: dict[str, dict],
        val_losses: dict[str, float] | None = None,
        memory: int | None = None,
    ) -> dict[str, Any]:
        """Write the epoch down: metrics.jsonl, last, and best where it is. Returns its row of metrics.jsonl.

        The epoch counts as finished once the state is written. What is written before it is written anew, with the
        same weights and metrics, by a run that goes on from the state before; what comes after it ``restore`` makes
        up for. Raises DiskError, with the files of the epoch before in their places. Of several processes the first
        one writes.
        """
        epoch = self.epoch + 1
        score = score_of(self.metric, metrics, val_losses)
        best, best_epoch = (score, epoch) if epoch == 1 or score > self.best else (self.best, self.best_epoch)
        seconds = round(time.monotonic() - self.started, 1)
        row: dict[str, Any] = {"epoch": epoch, "lr": self.learner.lr, "seconds": seconds, "memory": memory}
        row |= {"losses": losses, "val_losses": val_losses, "val": metrics}
        now = Checkpoint(
            state=self.result.state_dict(),
            architecture=self.architecture.to_json(),
            class_names=self.class_names,
            training=self.facts["training"] | {"epoch": epoch},
            data=self.facts["data"],
            metrics={"val": metrics},
            versions=checkpoint.versions(),
        )
        if writes := world().is_first:
            checkpoint.save(now, self.folder / LAST)
            MetricsLog(self.folder / LOG).write(row)
            progress = {"epoch": epoch, "best": best, "best_epoch": best_epoch}
            checkpoint.save_training_state(self._state() | progress, self.folder / STATE)
        self.epoch, self.within, self.best, self.best_epoch = epoch, None, best, best_epoch
        if writes and best_epoch == epoch:
            checkpoint.save(now, self.folder / BEST)
        self.started = time.monotonic()
        return row

    def keep(self, within: Progress) -> None:
        """Write down how far the running epoch is, so that a killed run goes on from here. Raises DiskError."""
        progress = {"epoch": self.epoch, "best": self.best, "best_epoch": self.best_epoch, "within": asdict(within)}
        progress["seconds"] = time.monotonic() - self.started
        if world().is_first:
            checkpoint.save_training_state(self._state() | progress, self.folder / STATE)
        self.within = within

    def hold(self) -> None:
        """Keep other processes from training this run until ``release``; UsageError where one does. The first process
        holds it for all."""
        if not world().is_first:
            return
        self._lock = FileLock(self.folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._lock = None  # which is theirs
            raise UsageError(f"{self.folder} is being trained by another process; wait for it, or stop it") from None
        except NotImplementedError:  # a file system without locks
            self._lock = None

    def release(self) -> None:
        """Let others train it."""
        if self._lock:
            with suppress(OSError):  # Windows deletes no open file
                (self.folder / LOCK).unlink()
            self._lock.release()

    def discard_if_empty(self) -> None:
        """Delete the settings and the folder of a run that came to nothing, so that the next one gets its name."""
        kept = (STATE, LAST, *(path.name for path in self.folder.glob(REPLAYS)))
        if world().is_first and not any((self.folder / name).exists() for name in kept):
            shutil.rmtree(self.folder / BOARD, ignore_errors=True)
            with suppress(OSError):  # it costs a folder, and must not hide why the run ended
                (self.folder / SETTINGS).unlink()
                self.folder.rmdir()

    @staticmethod
    def saved_facts(folder: Path) -> dict[str, Any]:
        """Of ``saved_state`` what tells of the run, and is small."""
        return {name: value for name, value in TrainingRun.saved_state(folder).items() if name in FACTS}

    @staticmethod
    def saved_state(folder: Path) -> dict[str, Any]:
        """What ``restore`` takes, from the folder of a run; CheckpointError where it is not one."""
        try:
            state = checkpoint.load_training_state(folder / STATE)
        except CheckpointError as error:
            last = folder / LAST
            way = f"; a new run can begin from its weights: --pretrained {last}" if last.exists() else ""
            raise CheckpointError(f"{error}{way}") from None
        if missing := set(STATE_KEYS) - set(state):
            raise CheckpointError(f"{folder / STATE} is not of a training run: it lacks {', '.join(sorted(missing))}")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``, which ``saved_state`` read, and tidy up after a run that was killed."""
        if state["train_sha256"] != self.facts["data"]["train_sha256"]:
            warn(f"{self.folder}: the training images are no longer those of its first epochs")
        if self.learner.average and "average" not in state:
            raise CheckpointError(f"{self.folder / STATE} has no moving average, which its settings ask for")
        self.learner.restore(state)
        self.epoch, self.best = state["epoch"], state["best"]
        self.best_epoch = state.get("best_epoch", 0)  # which early states do not tell
        self.within = Progress(**state["within"]) if "within" in state else None
        self.started = time.monotonic() - state.get("seconds", 0.0)
        if world().is_first:
            for name in FILES:
                remove_leftovers(self.folder / name)
            if missing := MetricsLog(self.folder / LOG).keep_until(self.epoch):
                warn(f"{self.folder / LOG} lacks the epochs {first_few(missing)}; so will the curves")
            self._make_up_for_best()

    def _make_up_for_best(self) -> None:
        """Where a run ended just after the state of its best epoch, that epoch's weights stand in last alone."""
        last, best = self.folder / LAST, self.folder / BEST
        if self.best_epoch == self.epoch and _epoch_of(last) == self.epoch != _epoch_of(best):
            write_bytes(best, last.read_bytes())

    def _state(self) -> dict[str, Any]:
        return self.learner.state() | {
            "architecture": self.architecture.to_json(),
            "class_names": list(self.class_names.names),
            "train_sha256": self.facts["data"]["train_sha256"],
            "reasons": self.facts.get("reasons", {}),
            "processes": world().size,
            "settings": self.facts.get("settings", {}),
        }


def score_of(metric: str, metrics: dict[str, dict], val_losses: dict[str, float] | None) -> float:
    """The figure by which epochs are compared, higher is better; -inf where there is no ground truth to score."""
    if metric == "loss":
        assert val_losses
        score = -val_losses["loss"]
    else:
        kind, _, name = metric.partition("_")
        score = metrics[kind][name]
    return score if score is not None and math.isfinite(score) else -math.inf


def _epoch_of(path: Path) -> int | None:
    """The epoch whose weights a checkpoint holds; None where there is none to read."""
    try:
        return checkpoint.load(path).training.get("epoch")
    except CheckpointError:
        return None
