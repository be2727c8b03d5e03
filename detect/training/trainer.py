"""Training a detector: data, model, epochs, the best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from detect import distributed
from detect.data import FOLDS_FILE
from detect.data.batch_reading import dead_worker
from detect.errors import DataError, DetectError, DiskError, LostProcessError, TrainingError
from detect.evaluation import coco_metrics
from detect.progress import TRAINING, bar, report
from detect.text import counted
from detect.training import overview, setup
from detect.training.callbacks import StepCallback
from detect.training.config import TrainConfig
from detect.training.data import TrainingData, image_names, read_training_data
from detect.training.fitting import FittedConfig
from detect.training.image_reports import ImageReports
from detect.training.logging import results_csv, tracking
from detect.training.logging.images import choose_examples, example_images
from detect.training.logging.jsonl import MetricsLog
from detect.training.logging.plots import write_curves
from detect.training.logging.progress import EtaEstimator, epoch_line, peak_memory_bytes
from detect.training.logging.tensorboard import TensorBoardLogger
from detect.training.logging.tracking import Tracker
from detect.training.loop import EpochProgress, train_one_epoch
from detect.training.run import BEST, CURVES, LAST, LOG, STATE, TENSORBOARD, TrainingRun
from detect.training.signals import DeferredInterrupt
from detect.training.validation import Validator


@dataclass(frozen=True, repr=False)
class TrainResult:
    """Files and metrics of a finished run.

    best: checkpoint of the best epoch.  last: checkpoint of the last epoch.
    folder: of the run. It also has settings.yaml, metrics.jsonl and results.csv (all figures), curves.png and
        tensorboard/, model.txt (model summary), labels.png (annotations of train) and, of the best epoch on val,
        val_mosaic.png, pr_curve.png, f1_curve.png, confusion_matrix.png and report.html, unless one could not be
        written.
    metrics: metrics of the best epoch on val, such as ``bbox_AP`` and ``segm_AP50`` (0..1), and ``loss``. A metric
        without ground truth is absent.
    best_epoch: number of the best epoch, from 1.
    config: settings of the run, with the fitted defaults.
    evaluation_split: split for a final evaluation: ``test`` if the dataset has one, else ``val``; None if no split was
        left out of training.
    """

    best: Path
    last: Path
    folder: Path
    metrics: dict[str, float]
    best_epoch: int
    config: TrainConfig
    evaluation_split: str | None

    def __repr__(self) -> str:
        score = self.metrics.get(self.config.metric)
        shown = "" if score is None else f", {self.config.metric} {score:.3f} on val"
        return f"<TrainResult {self.folder}: best epoch {self.best_epoch}{shown}>"


def train(config: TrainConfig) -> TrainResult:
    """Train a detector, or continue the run ``config.resume``, whose config comes from ``config.complete_config``.

    Raises UsageError, DataError, CheckpointError, FetchError, DiskError and TrainingError; KeyboardInterrupt after
    Ctrl-C, with a message that says how to continue.
    """
    device, workers = setup.prepare_process(config)
    with distributed.process_group(device):
        saved = TrainingRun.load_metadata(config.resume) if config.resume else None
        data = read_training_data(config.data, config.data_root, config.format, config.backgrounds)
        return train_on(data, config, device, workers, saved)


def train_on(
    data: TrainingData, config: TrainConfig, device: torch.device, workers: int, saved: dict[str, Any] | None = None
) -> TrainResult:
    """Train a detector on ``data``, or continue the run ``config.resume`` with the metadata ``saved`` in its state.

    device, workers: see ``setup.prepare_process``.  Raises the errors of ``train``.
    """
    run, fitted = setup.start_run(config, data, device, saved)
    with explain_interruption(run), experiment(run, fitted.config) as tracker:
        train_epochs(run, fitted, workers, tracker)
        TrainingRun.reduce_state(run.folder)
    if distributed.world().is_first:
        summarize(fitted.config, run, validates=len(data.val) > 0)
    return result_of(fitted.config, run.folder, run.best_epoch, data)


@contextmanager
def experiment(run: TrainingRun, config: TrainConfig) -> Iterator[Tracker | None]:
    """Yield the experiment tracker of the first process, or None, and close it after the block."""
    assert config.epochs
    is_used = distributed.world().is_first and run.epoch < config.epochs
    in_folds = (run.folder.parent / FOLDS_FILE).is_file()
    name = f"{run.folder.parent.name}_{run.folder.name}" if in_folds else run.folder.name
    with tracking.tracker(config.log if is_used else "none", run.folder, config.to_dict(), name) as opened:
        yield opened


def train_epochs(run: TrainingRun, fitted: FittedConfig, workers: int, tracker: Tracker | None = None) -> None:
    """Train, validate and save epoch after epoch, until all epochs are done or ``patience`` is exhausted."""
    config, data, train_step = fitted.config, fitted.data, run.train_step
    assert config.epochs
    loader = setup.build_train_loader(fitted, workers, train_step.device, with_masks=run.architecture.has_masks)
    validate = Validator(run, data, config, workers)
    eta = EtaEstimator(config.epochs, fitted.steps_per_epoch)
    tensorboard = None
    if distributed.world().is_first:
        tensorboard = TensorBoardLogger(run.folder / TENSORBOARD, epoch=run.epoch, steps=train_step.num_steps)
    callback = StepCallback(run, image_names(data.train), config.max_skipped_steps, eta, tensorboard)
    examples, image_reports = choose_examples(data.val), ImageReports(len(data.train))
    best_detections = None
    patience, first_epoch = config.patience or math.inf, patience_start(config, run)

    while run.epoch < config.epochs and run.epoch - max(first_epoch, run.best_epoch) < patience:
        title = f"epoch {run.epoch + 1}/{config.epochs}"
        progress = run.epoch_progress or EpochProgress()
        batches = loader.epoch(run.epoch, progress.batches)
        with DeferredInterrupt() as interrupt, bar(batches, desc=title, bar_format=TRAINING) as progress_bar:
            losses = train_one_epoch(
                train_step,
                progress_bar,
                epoch=run.epoch,
                accumulate=config.accumulate,
                progress=progress,
                on_step=callback.for_epoch(progress_bar, interrupt),
            )
            distributed.broadcast_buffers(train_step.model, run.evaluated_model)
            callback.epoch_trained(progress)
        image_reports.trained(run.epoch + 1, loader.problems.take())
        with callback.validation(progress):
            val = validate(title)
        image_reports.validated(run.epoch + 1, val.problems)
        with DeferredInterrupt():  # the files of an epoch are written completely or not at all
            row = run.finish_epoch(losses, val.metrics, val.losses, peak_memory_bytes(str(train_step.device)))
        if run.epochs_since_best == 0:
            best_detections = val.detections
        if tensorboard:
            tensorboard.log_epoch(row)
            images = example_images(data.val, val.detections, data.val_class_names, examples)
            tensorboard.log_images(run.epoch, images)
            if tracker:
                tracker.log_epoch(row, images)
        scores = coco_metrics.one_line(val.metrics)
        is_best = bool(val.metrics) and run.epochs_since_best == 0
        report(epoch_line(row, config.epochs, scores, eta.left(), is_best=is_best))
    overview.write_best_epoch(run, data, best_detections, validate.limit, with_report=config.report)


def patience_start(config: TrainConfig, run: TrainingRun) -> int:
    """Return the epoch from which ``patience`` counts; reports a resumed run that has finished, or that
    continues after it stopped early."""
    assert config.epochs
    if run.epoch >= config.epochs:
        finished = counted(run.epoch, "epoch")
        report(f"{run.folder} has finished {finished}; a larger number of `epochs` continues the training")
    elif config.patience and run.epochs_since_best >= config.patience:
        epochs = counted(config.patience, "more epoch")
        report(f"{run.folder} stopped early before; it now trains up to {epochs} without improvement")
        return run.epoch
    return 0


@contextmanager
def explain_interruption(run: TrainingRun) -> Iterator[None]:
    """Release the run after the block; add to errors that come from outside how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how_to_continue(run)) from None
    except (DiskError, DataError) as error:
        raise _with_instructions(type(error), str(error), run) from error
    except RuntimeError as error:
        if reason := dead_worker(error):
            raise _with_instructions(TrainingError, reason, run) from None
        if distributed.is_lost_connection(error):
            raise _with_instructions(LostProcessError, "another process of this training has ended", run) from None
        raise
    finally:
        run.unlock()
        run.delete_if_empty()


def _with_instructions(kind: type[DetectError], problem: str, run: TrainingRun) -> DetectError:
    error = kind(f"{problem}; {how_to_continue(run)}")
    error.problem = problem
    return error


def how_to_continue(run: TrainingRun) -> str:
    """Return in words how far an interrupted run is and how to continue it."""
    if not (run.folder / STATE).exists():
        last = run.folder / LAST
        kept = f"its weights are in {last}" if last.exists() else "there is nothing to continue from"
        return f"stopped before the first epoch was saved; {kept}"
    position = counted(run.epoch, "finished epoch")
    if run.epoch_progress:
        position += f" and {counted(run.epoch_progress.batches, 'batch', 'batches')}"
    size = distributed.world().size
    launcher = "" if size == 1 else f", again with torchrun --nproc_per_node={size}"
    return f"stopped after {position}; continue with `resume={str(run.folder)!r}`{launcher}"


def summarize(config: TrainConfig, run: TrainingRun, *, validates: bool) -> None:
    """Plot the run and report its best epoch, if it ``validates``."""
    assert config.epochs
    if config.patience and run.epoch < config.epochs:
        waited = counted(run.epochs_since_best, "epoch")
        report(f"stopped early: {waited} without a better {config.metric}; `resume` continues the training")
    has_score = math.isfinite(run.best_score)
    rows = MetricsLog(run.folder / LOG).rows()
    write_curves(rows, run.folder / CURVES, run.folder.name, run.best_epoch if has_score else 0, config.metric)
    if not validates:
        report(f"trained on all images, without validation: {run.folder / BEST}")
        return
    score = f"{abs(run.best_score):.3f}" if has_score else "unknown"
    report(f"best {config.metric} on val: {score} in epoch {run.best_epoch}: {run.folder / BEST}")
    if config.metric != "loss" and run.best_score == 0:
        report(
            "the model detects nothing yet: train for more `epochs`, or run the overfit test with `overfit=8` to see"
            " whether it can learn this dataset"
        )


def result_of(config: TrainConfig, folder: Path, best_epoch: int, data: TrainingData) -> TrainResult:
    """Return the files and metrics of the run in ``folder``."""
    rows = distributed.compute_on_first(MetricsLog(folder / LOG).rows)
    best_row = next((row for row in rows if row["epoch"] == best_epoch), {})
    return TrainResult(
        best=folder / BEST,
        last=folder / LAST,
        folder=folder,
        metrics=metrics_of(best_row),
        best_epoch=best_epoch,
        config=config,
        evaluation_split=next((split for split in ("test", "val") if split in data.splits), None),
    )


def metrics_of(row: dict[str, Any]) -> dict[str, float]:
    """Return the metrics in a row of metrics.jsonl under the names of the setting ``metric``, such as ``bbox_AP``."""
    metrics = {name: value for name, value in results_csv.flat_metrics(row).items() if value is not None}
    losses = row.get("val_losses")
    return metrics | ({"loss": losses["loss"]} if losses else {})
