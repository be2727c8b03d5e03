"""Detection with torchvision's R-CNN family: train, evaluate and run Faster R-CNN and Mask R-CNN.

    import detect

    model = detect.load_model("balloon")          # bundled name, torchvision name, checkpoint file or URL
    found = model("photo.jpg", threshold=0.6)     # path, URL, PIL image, array or tensor; a list gives a list
    found.draw().save("found.png")

    result = detect.train("path/to/data", backbone="mobilenet_v2", epochs=20)
    scores = detect.evaluate(result.best, "path/to/data", split="test")

docs/api.md describes every name. Importing this package is fast, since torch is imported on first use, and changes no
state of the process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from detect.errors import (
    CheckpointError,
    DataError,
    DetectError,
    DiskError,
    ExportLossError,
    FetchError,
    MediaError,
    TrainingError,
    UsageError,
)

if TYPE_CHECKING:
    from detect.data.load import load_dataset
    from detect.deployment.export import ExportResult, export
    from detect.evaluation.cross_validation import evaluate_folds
    from detect.evaluation.evaluate import Evaluation, evaluate
    from detect.evaluation.label_check import LabelErrors, find_label_errors
    from detect.evaluation.speed_tuning import SpeedTuning, tune_speed
    from detect.inference.load import load_model
    from detect.inference.predictor import Predictor
    from detect.inference.tracking.tracker import Tracker
    from detect.structures.class_names import ClassNames
    from detect.structures.detections import Detections
    from detect.structures.image_record import ImageRecord
    from detect.training.api import cross_validate, overfit_test, train
    from detect.training.config import CrossValidationConfig, TrainConfig
    from detect.training.cross_validation import CrossValidationResult
    from detect.training.trainer import TrainResult

__version__ = "0.2.0"

__all__ = [
    "CheckpointError",
    "ClassNames",
    "CrossValidationConfig",
    "CrossValidationResult",
    "DataError",
    "DetectError",
    "Detections",
    "DiskError",
    "Evaluation",
    "ExportLossError",
    "ExportResult",
    "FetchError",
    "ImageRecord",
    "LabelErrors",
    "MediaError",
    "Predictor",
    "SpeedTuning",
    "Tracker",
    "TrainConfig",
    "TrainResult",
    "TrainingError",
    "UsageError",
    "cross_validate",
    "evaluate",
    "evaluate_folds",
    "export",
    "find_label_errors",
    "load_dataset",
    "load_model",
    "overfit_test",
    "train",
    "tune_speed",
]

# Name -> module that is imported when the name is first used.
_LAZY = {
    "ClassNames": "detect.structures.class_names",
    "CrossValidationConfig": "detect.training.config",
    "CrossValidationResult": "detect.training.cross_validation",
    "Detections": "detect.structures.detections",
    "Evaluation": "detect.evaluation.evaluate",
    "ExportResult": "detect.deployment.export",
    "ImageRecord": "detect.structures.image_record",
    "LabelErrors": "detect.evaluation.label_check",
    "Predictor": "detect.inference.predictor",
    "SpeedTuning": "detect.evaluation.speed_tuning",
    "Tracker": "detect.inference.tracking.tracker",
    "TrainConfig": "detect.training.config",
    "TrainResult": "detect.training.trainer",
    "cross_validate": "detect.training.api",
    "evaluate": "detect.evaluation.evaluate",
    "evaluate_folds": "detect.evaluation.cross_validation",
    "export": "detect.deployment.export",
    "find_label_errors": "detect.evaluation.label_check",
    "load_dataset": "detect.data.load",
    "load_model": "detect.inference.load",
    "overfit_test": "detect.training.api",
    "train": "detect.training.api",
    "tune_speed": "detect.evaluation.speed_tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'detect' has no attribute '{name}'{_hint(name)}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def _hint(name: str) -> str:
    """Return a suggestion for a name that this module does not have, "" without one."""
    from detect.foreign_names import FUNCTIONS
    from detect.text import near_names

    near = [] if name.startswith("_") else [FUNCTIONS[name]] if name in FUNCTIONS else near_names(name, __all__)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
