"""The functions for training of the public API: settings are keyword arguments, with the names of TrainConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detect import options, runtime
from detect.training import debug_step as failed_steps
from detect.training import overfit, trainer
from detect.training.config import TrainConfig, complete_config
from detect.training.overfit import OverfitResult
from detect.training.trainer import TrainResult


def train(data: str | Path | None = None, **settings: Any) -> TrainResult:
    """Train a Faster R-CNN or Mask R-CNN and return its files and metrics.

        result = detect.train("path/to/data", backbone="mobilenet_v2", epochs=20)
        result = detect.train(resume=result.folder, epochs=30)

    data: folder, name of a dataset in datasets/, or YAML file. Required unless ``resume`` names a run.
    settings: any fields of ``detect.TrainConfig``; a setting that is not given is fitted to the dataset.

    Writes a folder below ``output_dir`` with best.safetensors, last.safetensors, last_state.pt (for ``resume``),
    settings.yaml, metrics.jsonl, curves.png and tensorboard/.

    Sets the number of threads and the random seeds of this process. Raises TypeError for an unknown setting and
    without ``data``, UsageError for an invalid value, DataError for a dataset that cannot be used, TrainingError if
    the loss diverges, and KeyboardInterrupt after Ctrl-C, once the state is saved.
    """
    return trainer.train(_config("train", data, settings))


def overfit_test(data: str | Path | None = None, num_images: int = 8, **settings: Any) -> OverfitResult:
    """Train on a few images until the model reproduces their annotations, and report possible causes if it cannot.

    data, settings: as for ``train``.  num_images: number of images, at least 1.
    Raises the errors of ``train``, and UsageError for an invalid ``num_images``.
    """
    options.check_number("num_images", num_images, int, low=1)
    return overfit.overfit_test(_config("overfit_test", data, settings), num_images)


def debug_step(path: str | Path, device: str = "auto") -> str:
    """Repeat a failed step of a training and return a report on where it stopped being finite.

    path: file failed_step_*.pt in the folder of a run. Raises CheckpointError for another file.
    device: "auto", "cpu", "cuda", "cuda:0" or "mps".
    """
    runtime.configure_process()
    return failed_steps.analyze_failed_step(Path(path), runtime.pick_device(device))


def _config(function: str, data: str | Path | None, settings: dict[str, Any]) -> TrainConfig:
    given = settings if data is None else {"data": data, **settings}
    config = options.build(TrainConfig, f"detect.{function}", **given)
    if data is None and config.resume is None:
        raise TypeError(
            f"detect.{function}() is missing the argument 'data': a folder, the name of a dataset such as 'sample', or"
            " a YAML file"
        )
    return complete_config(config, given)
