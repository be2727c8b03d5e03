"""Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.

Writes outputs/train/NAME/: best.safetensors (the epoch with the best metric on val), last.safetensors, last_state.pt
(for --resume), settings.yaml, metrics.jsonl and results.csv (all figures), curves.png and tensorboard/, model.txt
(model summary), labels.png (overview of the annotations) and, of the best epoch on val, val_mosaic.png, pr_curve.png,
f1_curve.png, confusion_matrix.png and report.html.

With --folds K it trains K models instead, in the folders fold_1, fold_2, ..., and tests each on the images that it was
not trained on.

    torchrun --nproc_per_node=2 train.py ...

trains in two processes, each with half of every step's batches.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detect.cli.flags import parse
from detect.data import FOLDS_FILE, MIN_FOLDS
from detect.errors import UsageError
from detect.options import option
from detect.progress import report
from detect.training.config import (
    FINAL_MODEL_HELP,
    FOLDS_HELP,
    CrossValidationConfig,
    TrainConfig,
    complete_config,
)

if TYPE_CHECKING:
    from detect.training.trainer import TrainResult

NOT_OVERFITTED = 3  # exit status if the overfit test fails


@dataclass
class TrainSettings(TrainConfig):
    """train.py"""

    overfit: int | None = option(
        None,
        "instead of training, test whether the model can overfit this number of images, and print possible causes if"
        " it cannot",
        low=1,
        metavar="N",
    )
    folds: int | None = option(None, FOLDS_HELP, low=MIN_FOLDS, metavar="K")
    final_model: bool = option(False, FINAL_MODEL_HELP)
    debug_step: Path | None = option(
        None, "instead of training, repeat the failed step in this file and print a report", metavar="FILE"
    )


def main() -> int:
    settings, given = parse(TrainSettings, "Fine-tune a Faster R-CNN or Mask R-CNN on a dataset.")
    from detect.data.description import check_exists  # here, since --help does not need its packages

    if is_cross_validation(settings):
        folds_config = complete_config(settings, given, CrossValidationConfig)
        check_exists(folds_config.data)
        return cross_validate(folds_config)
    config = complete_config(settings, given - {"debug_step"}, TrainConfig)
    if not settings.debug_step:
        check_exists(config.data)

    # Imported here because torch takes seconds, and --help and mistakes do not need it.
    from detect.distributed import require_single_process, world_from_environment
    from detect.training import api, overfit, trainer

    if settings.debug_step:
        require_single_process("the analysis of a failed step")
        print(api.debug_step(settings.debug_step, settings.device))
    elif settings.overfit:
        return 0 if overfit.overfit_test(config, settings.overfit).passed else NOT_OVERFITTED
    else:
        result = trainer.train(config)
        if world_from_environment().is_first:
            report(f"next: {evaluation_command(result)}")
    return 0


def is_cross_validation(settings: TrainSettings) -> bool:
    """Return whether a cross-validation is asked for. Raises UsageError for settings that exclude each other."""
    resumed = settings.resume is not None and (settings.resume / FOLDS_FILE).is_file()
    if settings.folds and (settings.overfit or settings.debug_step):
        raise UsageError(f"`folds` excludes `{'overfit' if settings.overfit else 'debug_step'}`")
    if settings.final_model and not settings.folds and settings.resume is None:
        raise UsageError("`final_model` is trained after the folds of a cross-validation: add `folds=5`")
    return resumed or (settings.folds is not None and settings.resume is None)


def cross_validate(config: CrossValidationConfig) -> int:
    """Cross-validate, print what to do next, and return the exit status."""
    from detect.distributed import world_from_environment
    from detect.training import cross_validation

    result = cross_validation.cross_validate(config)
    if world_from_environment().is_first:
        if result.final is None:
            report(f"next: python train.py --resume {shlex.quote(str(result.folder))} --final-model")
        elif result.final.evaluation_split:
            report(f"next: {evaluation_command(result.final)}")
    return 0


def evaluation_command(result: TrainResult) -> str:
    """Return the command that evaluates the best checkpoint of a run."""
    config = result.config
    words = ["python", "evaluate.py", "--model", str(result.best), "--data", config.data]
    words += ["--data-root", str(config.data_root)] if config.data_root else []
    words += ["--format", config.format] if config.format != "auto" else []
    return shlex.join([*words, "--split", result.evaluation_split or "val"])
