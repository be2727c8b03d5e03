"""The folder of a training run: checkpoints, resume state and log, and what resuming restores from them."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from detect.data.digests import TRAIN_IMAGES
from detect.distributed import world
from detect.errors import CheckpointError, DetectError
from detect.evaluation.saved_model import LOG
from detect.io.files import remove_temporary_files, write_bytes
from detect.io.locks import lock_file
from detect.models import checkpoint
from detect.models.architecture import Architecture
from detect.models.checkpoint import Checkpoint
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import first_few
from detect.training import finished_state
from detect.training.logging.jsonl import MetricsLog
from detect.training.logging.results_csv import write_results
from detect.training.loop import EpochProgress
from detect.training.optional_files import optional_file
from detect.training.resume import SETTINGS_FILE, translate_state
from detect.training.step import TrainStep

STATE, LAST, BEST = "last_state.pt", "last.safetensors", "best.safetensors"
RESULTS, CURVES, TENSORBOARD = "results.csv", "curves.png", "tensorboard"
WANDB = "wandb"  # folder of Weights & Biases' own files
MODEL_SUMMARY, LABELS = "model.txt", "labels.png"
MOSAIC, PR_CURVE, F1_CURVE = "val_mosaic.png", "pr_curve.png", "f1_curve.png"
CONFUSION_MATRIX, REPORT = "confusion_matrix.png", "report.html"
FAILED_STEPS = ("failed_step_*.pt", "replay_*.pt")  # patterns; the second one is of earlier versions
LOCK = "lock"  # exists while a process trains the run
ID_FILE = "experiment.json"  # which experiment of a tracker a resumed run continues
START_FILES = (SETTINGS_FILE, MODEL_SUMMARY, LABELS, TRAIN_IMAGES, ID_FILE)  # written before the first epoch
BEST_EPOCH_FILES = (MOSAIC, PR_CURVE, F1_CURVE, CONFUSION_MATRIX)  # written at the end
FILES = (STATE, LAST, BEST, LOG, RESULTS, CURVES, *START_FILES, *BEST_EPOCH_FILES, REPORT)
# Keys that every state has. One of an unfinished run has "model" and, with an EMA, "ema" as well.
STATE_KEYS = {"epoch", "best_score", "architecture", "class_names", "optimizer", "schedule"}
METADATA_KEYS = ("architecture", "class_names", "num_processes", "reasons", "settings")


@dataclass(frozen=True)
class RunMetadata:
    """Description of a run, for its checkpoints and for resuming.

    training: settings, for the checkpoint.
    data: ``name`` of the dataset, ``train_images`` and ``train_digest`` (of all images), for the checkpoint.
    compared_settings: settings that must not change when the run is resumed.
    reasons: name of a setting that was fitted -> reason.
    """

    training: dict[str, Any]
    data: dict[str, Any]
    compared_settings: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass
class TrainingRun:
    """A run: the objects that are trained, the position in training, and the files.

    folder: of the run.
    train_step: model, optimizer and everything else that a step changes.
    architecture, class_names: of the model.
    metadata: description for the files.
    metric: name of the metric that selects the best epoch, one of ``detect.training.config.METRICS``.
    epoch: number of finished epochs.
    epoch_progress: position in the epoch that is running; None if no step of it was saved.
    best_score: highest score so far; -inf before the first epoch.
    best_epoch: epoch that has ``best_score``, from 1; 0 before the first epoch.
    started_at: start of the running epoch by the monotonic clock, moved forward by the time that the run was stopped.
    starts_without_momentum: whether the run was restored from the state of a finished one.
    """

    folder: Path
    train_step: TrainStep
    architecture: Architecture
    class_names: ClassNames
    metadata: RunMetadata
    metric: str = "bbox_AP"
    epoch: int = 0
    epoch_progress: EpochProgress | None = None
    best_score: float = -math.inf
    best_epoch: int = 0
    started_at: float = field(default_factory=time.monotonic)
    starts_without_momentum: bool = False
    _lock: ExitStack = field(default_factory=ExitStack)

    @property
    def evaluated_model(self) -> nn.Module:
        """The model that is validated and saved: the EMA if there is one."""
        ema = self.train_step.ema
        return ema.module if ema else self.train_step.model

    @property
    def epochs_since_best(self) -> int:
        return self.epoch - self.best_epoch

    def finish_epoch(
        self,
        losses: dict[str, float],
        metrics: dict[str, dict],
        val_losses: dict[str, float] | None = None,
        memory_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Save the finished epoch and return its row of metrics.jsonl. Only the first process writes.

        The epoch counts as finished once the state is written. If the process dies earlier, the resumed run repeats
        the epoch and writes the same files again; if it dies later, ``restore`` completes them.
        Without ``metrics``, as of a run without a val split, the last epoch counts as the best.
        Raises DiskError, in which case the files of the epoch before remain.
        """
        epoch = self.epoch + 1
        score = score_of(self.metric, metrics, val_losses) if metrics else -math.inf
        is_best = epoch == 1 or score > self.best_score or not metrics
        best_score, best_epoch = (score, epoch) if is_best else (self.best_score, self.best_epoch)
        row: dict[str, Any] = {
            "epoch": epoch,
            "lr": self.train_step.lr,
            "seconds": round(time.monotonic() - self.started_at, 1),
            "memory_bytes": memory_bytes,
            "losses": losses,
            "val_losses": val_losses,
            "val": metrics,
        }
        saved = self._checkpoint(epoch, metrics)
        if writes := world().is_first:
            self._delete(REPORT)  # it shows the course of the training up to an earlier epoch
            checkpoint.save(saved, self.folder / LAST)
            MetricsLog(self.folder / LOG).write(row)
            position = {"epoch": epoch, "best_score": best_score, "best_epoch": best_epoch}
            checkpoint.save_training_state(self._state() | position, self.folder / STATE)
        self.epoch, self.epoch_progress, self.best_score, self.best_epoch = epoch, None, best_score, best_epoch
        if writes:
            self._write_results()
        if writes and is_best:
            self._delete(*BEST_EPOCH_FILES)  # so that a run which stops before its end does not keep former ones
            checkpoint.save(saved, self.folder / BEST)
        self.started_at = time.monotonic()
        return row

    def save_progress(self, progress: EpochProgress | None = None) -> None:
        """Save the state within an epoch, or before its first step, from which a killed run continues.

        Raises DiskError.
        """
        position: dict[str, Any] = {"epoch": self.epoch, "best_score": self.best_score, "best_epoch": self.best_epoch}
        if progress:
            position["epoch_progress"] = asdict(progress)
        position["epoch_seconds"] = time.monotonic() - self.started_at
        if world().is_first:
            checkpoint.save_training_state(self._state() | position, self.folder / STATE)
        self.epoch_progress = progress

    @staticmethod
    def reduce_state(folder: Path) -> None:
        """Remove the tensors from the state of a finished run, see ``finished_state``, if LAST has its weights."""
        if world().is_first:
            try:
                state = TrainingRun.load_state(folder)
                can_be_reduced = "epoch_progress" not in state and not finished_state.is_reduced(state)
                if can_be_reduced and _epoch_of(folder / LAST) == state["epoch"]:
                    checkpoint.save_training_state(finished_state.reduced(state), folder / STATE)
            except DetectError as error:  # such as for a full disk
                warn(f"{error}; the state of the finished run keeps its full size")

    def lock(self) -> None:
        """Keep other processes from training this run until ``unlock``. The first process locks for all processes.

        Raises UsageError if another process trains the run.
        """
        self._lock.enter_context(locked(self.folder))

    def unlock(self) -> None:
        """Allow other processes to train the run."""
        self._lock.close()

    def delete_if_empty(self) -> None:
        """Delete the folder of a run without weights and failed steps, so that the next run can use its name."""
        kept = [self.folder / STATE, self.folder / LAST]
        kept += [path for pattern in FAILED_STEPS for path in self.folder.glob(pattern)]
        if world().is_first and not any(path.exists() for path in kept):
            for name in (TENSORBOARD, WANDB):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            with suppress(OSError):  # a folder that remains is harmless, and this must not hide why the run ended
                for name in START_FILES:
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()

    @staticmethod
    def load_metadata(folder: Path) -> dict[str, Any]:
        """Return the entries METADATA_KEYS of ``load_state``, without the large tensors."""
        return {name: value for name, value in TrainingRun.load_state(folder).items() if name in METADATA_KEYS}

    @staticmethod
    def load_state(folder: Path) -> dict[str, Any]:
        """Return the state in the folder of a run, for ``restore``. Raises CheckpointError if it cannot be read."""
        try:
            state = translate_state(checkpoint.load_training_state(folder / STATE))
        except CheckpointError as error:
            last = folder / LAST
            hint = f"; start a new run from its weights with `pretrained='{last}'`" if last.exists() else ""
            raise CheckpointError(f"{error}{hint}") from None
        if missing := STATE_KEYS - set(state):
            raise CheckpointError(
                f"{folder / STATE} is not the state of a training run: it lacks {', '.join(sorted(missing))}"
            )
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state of ``load_state``, and clean up what a killed process left behind."""
        digest = self.metadata.data["train_digest"]
        if state.get("train_digest", digest) != digest:  # states of earlier versions lack it
            warn(f"{self.folder}: the training images have changed since its first epochs")
        if is_reduced := finished_state.is_reduced(state):
            state = finished_state.completed(state, self.folder / LAST)
        if self.train_step.ema and "ema" not in state:
            raise CheckpointError(f"{self.folder / STATE} has no moving average, but the run was started with `ema`")
        self.train_step.load_state_dict(state)
        self.epoch, self.best_score = state["epoch"], state["best_score"]
        self.best_epoch = state.get("best_epoch", 0)  # the first versions did not save it
        self.epoch_progress = EpochProgress(**state["epoch_progress"]) if "epoch_progress" in state else None
        self.started_at = time.monotonic() - state.get("epoch_seconds", 0.0)
        self.starts_without_momentum = is_reduced
        if world().is_first:
            for name in FILES:
                remove_temporary_files(self.folder / name)
            if missing := MetricsLog(self.folder / LOG).truncate_after(self.epoch):
                warn(f"{self.folder / LOG} lacks the epochs {first_few(missing)}; the plots will lack them too")
            self._write_results()
            self._complete_best()

    def _complete_best(self) -> None:
        """Write BEST if the process died between the state of its best epoch and BEST: LAST holds the same weights."""
        last, best = self.folder / LAST, self.folder / BEST
        if self.best_epoch == self.epoch and _epoch_of(last) == self.epoch != _epoch_of(best):
            self._delete(*BEST_EPOCH_FILES, REPORT)
            write_bytes(best, last.read_bytes())

    def _write_results(self) -> None:
        with optional_file(self.folder / RESULTS):
            write_results(MetricsLog(self.folder / LOG).rows(), self.folder / RESULTS)

    def _delete(self, *names: str) -> None:
        """Delete files that no longer show the run."""
        for name in names:
            with suppress(OSError):
                (self.folder / name).unlink(missing_ok=True)

    def _checkpoint(self, epoch: int, metrics: dict[str, dict]) -> Checkpoint:
        return Checkpoint(
            state=self.evaluated_model.state_dict(),
            architecture=self.architecture.to_json(),
            class_names=self.class_names,
            training=self.metadata.training | {"epoch": epoch},
            data=self.metadata.data,
            metrics={"val": metrics},
            versions=checkpoint.versions(),
        )

    def _state(self) -> dict[str, Any]:
        return self.train_step.state_dict() | {
            "architecture": self.architecture.to_json(),
            "class_names": list(self.class_names.names),
            "train_digest": self.metadata.data["train_digest"],
            "reasons": self.metadata.reasons,
            "num_processes": world().size,
            "settings": self.metadata.compared_settings,
        }


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in ``folder`` during the block. The first process locks for all processes.

    Raises UsageError if another process trains there.
    """
    if not world().is_first:
        yield
        return
    with lock_file(folder / LOCK, f"{folder} is being trained by another process; wait until it ends, or stop it"):
        yield


def score_of(metric: str, metrics: dict[str, dict], val_losses: dict[str, float] | None) -> float:
    """Return the number by which epochs are compared, higher is better; -inf if it is undefined or not finite."""
    if metric == "loss":
        assert val_losses
        score = -val_losses["loss"]
    else:
        kind, _, name = metric.partition("_")
        score = metrics[kind][name]
    return score if score is not None and math.isfinite(score) else -math.inf


def _epoch_of(path: Path) -> int | None:
    """Return the epoch of a checkpoint; None if it cannot be read."""
    try:
        return checkpoint.load(path).training.get("epoch")
    except CheckpointError:
        return None
