"""Cross-validation: one model per fold, trained on the images of the other folds and tested on those of its own.

All models are trained for the same number of epochs, which is fixed before the first one, and the model of the last
epoch is tested. No epoch is chosen by the images that are scored, so the metrics are not too high.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from detect import distributed, runtime
from detect.data import FOLDS_FILE
from detect.data.folds import read_folds, write_folds
from detect.errors import DetectError, DiskError
from detect.evaluation import coco_metrics
from detect.evaluation.cross_validation import evaluate_models, folds_table
from detect.evaluation.evaluate import Evaluation
from detect.io.files import new_folder
from detect.progress import report
from detect.text import counted
from detect.training import setup, trainer
from detect.training.config import CrossValidationConfig, TrainConfig, saved_config
from detect.training.data import TrainingData
from detect.training.fold_data import FoldData, read_fold_data
from detect.training.logging.jsonl import MetricsLog
from detect.training.optional_files import optional_file
from detect.training.resume import SETTINGS_FILE
from detect.training.run import LOCK, LOG, REPORT, STATE, TrainingRun, locked, score_of
from detect.training.trainer import TrainResult

METRICS_FILE = "cross_validation.json"
FINAL = "final"


@dataclass(frozen=True, repr=False)
class CrossValidationResult:
    """Models and metrics of a cross-validation.

    folder: with a folder per fold.
    folds: result of the training of each fold. Its metrics are those of the best epoch on the images of the fold.
    out_of_fold: metrics and detections of the last epoch of each fold on the images that it was not trained on. Its
        ``scores`` have the metrics of each fold too, see ``evaluation.cross_validation.evaluate_models``.
    final: result of the training on the images of all folds, if it was asked for; it has no metrics.
    """

    folder: Path
    folds: tuple[TrainResult, ...]
    out_of_fold: Evaluation
    final: TrainResult | None

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of the images of all folds together, such as ``bbox_AP`` (0..1); NaN where there is no object of
        that size."""
        return self.out_of_fold.metrics

    def __repr__(self) -> str:
        scores = coco_metrics.one_line(self.out_of_fold.scores)
        return f"<CrossValidationResult {self.folder}: {len(self.folds)} folds, {scores}>"


@dataclass(frozen=True)
class _Runs:
    """Trains the models of a cross-validation.

    config: its settings.  folder: of the cross-validation.  device, workers: see ``setup.prepare_process``.
    """

    config: CrossValidationConfig
    folder: Path
    device: torch.device
    workers: int

    def train(self, name: str, data: TrainingData, epochs: int | None) -> TrainResult:
        """Train the model in the folder ``name``, continue its training, or only return the result of a finished one.

        epochs: number of epochs; None if it is fitted.
        """
        folder = self.folder / name
        state = distributed.compute_on_first(lambda: _position(folder))
        if state is None:
            if distributed.world().is_first:  # a killed process may have left files of the first epoch
                shutil.rmtree(folder, ignore_errors=True)
            runtime.seed_all(self.config.seed)  # so that a model does not depend on those before it
            config = self.config.of_one_run(
                output_dir=self.folder, name=name, epochs=epochs, report=False, resume=None
            )
            return trainer.train_on(data, config, self.device, self.workers)
        changes = {name: getattr(self.config, name) for name in ("device", "workers", "log", "quiet")}
        config = saved_config(folder, changes, TrainConfig)
        epoch, best_epoch = state
        if config.epochs and epoch >= config.epochs:
            report(f"{name} has finished {counted(epoch, 'epoch')}")
            TrainingRun.reduce_state(folder)  # unless the process that finished it did
            return trainer.result_of(config, folder, best_epoch, data)
        return trainer.train_on(data, config, self.device, self.workers, TrainingRun.load_metadata(folder))


def _position(folder: Path) -> tuple[int, int] | None:
    """Return the numbers of the last and of the best epoch in the state of a run; None without a state."""
    if not (folder / STATE).exists():
        return None
    state = TrainingRun.load_state(folder)
    return state["epoch"], state.get("best_epoch", 0)


def cross_validate(config: CrossValidationConfig) -> CrossValidationResult:
    """Train and test a model per fold, and then the final model if it is asked for; or continue ``config.resume``.

    Raises the errors of ``trainer.train``, and UsageError for more folds than the dataset can be divided into.
    """
    device, workers = setup.prepare_process(config)
    with distributed.process_group(device):
        data = read_fold_data(config, read_folds(config.resume / FOLDS_FILE) if config.resume else None)
        folder = config.resume or distributed.compute_on_first(lambda: _new_folder(config, data))
        with locked(folder), _explain_interruption(folder):
            if distributed.world().is_first:
                config.save(folder / SETTINGS_FILE, {})
            runs = _Runs(config, folder, device, workers)
            results = _train_folds(runs, data)
            evaluation = _evaluate(runs, data, results)
            final = None
            if config.final_model:
                report(f"final model: {len(data.trained)} images for training, none for validation")
                final = runs.train(FINAL, data.without_val(), results[0].config.epochs)
    return CrossValidationResult(folder, tuple(results), evaluation, final)


def _new_folder(config: CrossValidationConfig, data: FoldData) -> Path:
    """Create the folder of a cross-validation, with its folds."""
    name = config.name or f"{data.name}_{config.model or config.backbone}_{config.folds}_folds".replace(":", "_")
    folder = new_folder(config.output_dir, name)
    write_folds(folder / FOLDS_FILE, data.folds(config))
    report(f"cross-validation: {folder}")
    return folder


def _train_folds(runs: _Runs, data: FoldData) -> list[TrainResult]:
    """Train the model of each fold; the number of epochs of the first one is that of all."""
    results: list[TrainResult] = []
    for fold in range(runs.config.folds):
        split = data.of_fold(fold)
        images = f"{len(split.train)} images for training, {len(split.val)} for validation"
        report(f"fold {fold + 1}/{runs.config.folds}: {images}")
        epochs = results[0].config.epochs if results else runs.config.epochs
        results.append(runs.train(f"fold_{fold + 1}", split, epochs))
    return results


def _evaluate(runs: _Runs, data: FoldData, results: Sequence[TrainResult]) -> Evaluation:
    """Score the last epoch of each fold on its images; write and report the metrics."""
    limit, epochs = runs.config.max_detections, results[0].config.epochs
    evaluation = evaluate_models(
        [result.last for result in results],
        data.images,
        data.fold_of,
        data.name,
        device=str(runs.device),
        max_detections=limit,
    )
    scores = evaluation.scores
    for fold, result in zip(scores["folds"].values(), results, strict=True):
        fold["best_epoch"] = result.best_epoch
    means = distributed.compute_on_first(lambda: _mean_scores(runs.config.metric, results))
    best = max(means, key=lambda epoch: (means[epoch], epoch), default=None)
    scores["epochs"] = {"trained": epochs, "best_mean": best}
    if distributed.world().is_first:
        evaluation.save(runs.folder / METRICS_FILE)
        report(f"each fold, tested on its images after epoch {epochs}:\n{folds_table(scores)}")
        report(f"all {len(evaluation.records)} images, each tested by the model that was not trained on it:")
        report(evaluation.table())
        _report_best_mean(runs.config.metric, means, scores["epochs"])
        report(f"-> {runs.folder / METRICS_FILE}")
        if runs.config.report:
            with optional_file(path := runs.folder / REPORT):
                evaluation.save_report(path)
                report(f"-> {path}")
    return evaluation


def _mean_scores(metric: str, results: Sequence[TrainResult]) -> dict[int, float]:
    """Return epoch -> mean of the score by ``metric`` over the folds, for epochs in which every fold has one."""
    scores: dict[int, list[float]] = {}
    for result in results:
        for row in MetricsLog(result.folder / LOG).rows():
            scores.setdefault(row["epoch"], []).append(score_of(metric, row["val"], row["val_losses"]))
    complete = {epoch: some for epoch, some in scores.items() if len(some) == len(results) and min(some) > -math.inf}
    return {epoch: statistics.fmean(some) for epoch, some in sorted(complete.items())}


def _report_best_mean(metric: str, means: Mapping[int, float], epochs: Mapping[str, int | None]) -> None:
    """Report if another epoch than the last one is the best on average."""
    best, last = epochs["best_mean"], epochs["trained"]
    if best is not None and last is not None and last in means and best != last:
        report(
            f"on average over the folds, {metric} was best in epoch {best} of {last}: {abs(means[best]):.3f}, and"
            f" {abs(means[last]):.3f} in the last one"
        )


@contextmanager
def _explain_interruption(folder: Path) -> Iterator[None]:
    """Add how to continue to an interrupt and to errors that come from outside; delete a folder without models."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_continue(folder)) from None
    except DetectError as error:
        if not error.problem and not isinstance(error, DiskError):
            raise
        # The error of a fold states how to continue that fold, which only continues with the others.
        raise type(error)(f"{error.problem or error}; {_how_to_continue(folder)}") from error
    finally:
        if distributed.world().is_first and not any(folder.glob("fold_*")):
            with suppress(OSError):  # a remaining folder is harmless; an error here would replace the original one
                for name in (SETTINGS_FILE, FOLDS_FILE, LOCK):
                    (folder / name).unlink(missing_ok=True)
                folder.rmdir()


def _how_to_continue(folder: Path) -> str:
    if not any(folder.glob("fold_*")):
        return "stopped before the first epoch of the first fold was saved; there is nothing to continue from"
    size = distributed.world().size
    launcher = "" if size == 1 else f", again with torchrun --nproc_per_node={size}"
    return f"stopped within the cross-validation; continue with `resume={str(folder)!r}`{launcher}"
