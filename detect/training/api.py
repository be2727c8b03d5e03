"""The functions for training of the public API: settings are keyword arguments, with the names of TrainConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detect import options, runtime
from detect.training import cross_validation, overfit, trainer
from detect.training import debug_step as failed_steps
from detect.training.config import C, CrossValidationConfig, TrainConfig, complete_config
from detect.training.cross_validation import CrossValidationResult
from detect.training.overfit import OverfitResult
from detect.training.trainer import TrainResult


def train(data: str | Path | None = None, **settings: Any) -> TrainResult:
    """Train a Faster R-CNN or Mask R-CNN and return its files and metrics.

        result = detect.train("path/to/data", backbone="mobilenet_v2", epochs=20)
        result = detect.train(resume=result.folder, epochs=30)

    data: folder, name of a dataset in datasets/, or YAML file. Required unless ``resume`` names a run.
    settings: any fields of ``detect.TrainConfig``. A setting that is not given has its default; some defaults are
        fitted to the dataset.

    Writes a folder below ``output_dir`` with best.safetensors, last.safetensors, last_state.pt (for ``resume``),
    settings.yaml, metrics.jsonl, results.csv, curves.png, tensorboard/, model.txt, labels.png and, of the best epoch,
    val_mosaic.png, pr_curve.png, f1_curve.png, confusion_matrix.png and report.html (docs/training.md describes them).

    Sets the number of threads and the random seeds of this process. Raises TypeError for an unknown setting and
    without ``data``, UsageError for an invalid value, DataError for a dataset that cannot be used, CheckpointError and
    FetchError for initial weights that cannot be used or downloaded, DiskError for a file that cannot be written,
    TrainingError if more than ``max_skipped_steps`` steps of an epoch are not finite or a process dies, and
    KeyboardInterrupt after Ctrl-C, once the state is saved.
    """
    return trainer.train(_config(TrainConfig, "train", data, settings))


def cross_validate(data: str | Path | None = None, **settings: Any) -> CrossValidationResult:
    """Train a model per fold on the images of the other folds, and test it on those of its own.

        result = detect.cross_validate("path/to/data", folds=5, epochs=20)
        print(result.metrics["bbox_AP"], result.out_of_fold.table())
        result = detect.cross_validate(resume=result.folder, final_model=True)

    The images of the splits train and val, or all images of a folder without splits, are divided into folds.
    Near-duplicates, copies and frames of a clip are in the same fold. Each image is tested once, by a model that was
    not trained on it, which says more than one val split if there are few images.

    data: as in ``train``.
    settings: any fields of ``detect.TrainConfig`` but ``patience``; ``folds``, the number of folds, by default 5; and
        ``final_model``, whether to train a model on the images of all folds at the end.

    Writes a folder below ``output_dir`` with a run in fold_1, fold_2, ..., and final, folds.yaml (the images of each
    fold), settings.yaml and cross_validation.json (metrics with intervals).

    Raises the errors of ``train``, and UsageError if the dataset cannot be divided into so many folds.
    """
    return cross_validation.cross_validate(_config(CrossValidationConfig, "cross_validate", data, settings))


def overfit_test(data: str | Path | None = None, num_images: int = 8, **settings: Any) -> OverfitResult:
    """Train on a few images until the model reproduces their annotations, and report possible causes if it cannot.

    data, settings: as for ``train``.  num_images: number of images, at least 1.
    Raises the errors of ``train``, and UsageError for an invalid ``num_images``.
    """
    options.check_number("num_images", num_images, int, low=1)
    return overfit.overfit_test(_config(TrainConfig, "overfit_test", data, settings), num_images)


def debug_step(path: str | Path, device: str = "auto") -> str:
    """Repeat a failed step of a training and return a report on where it stopped being finite.

    path: file failed_step_*.pt in the folder of a run. Raises CheckpointError for another file.
    device: "auto", "cpu", "cuda", "cuda:0" or "mps".
    """
    runtime.configure_process()
    return failed_steps.analyze_failed_step(Path(path), runtime.pick_device(device))


def _config(config_class: type[C], function: str, data: str | Path | None, settings: dict[str, Any]) -> C:
    given = settings if data is None else {"data": data, **settings}
    config = options.build(config_class, f"detect.{function}", **given)
    if data is None and config.resume is None:
        raise TypeError(
            f"detect.{function}() is missing the argument 'data': a folder, the name of a dataset such as 'sample', or"
            " a YAML file"
        )
    return complete_config(config, given, config_class)
