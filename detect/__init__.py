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
    FetchError,
    MediaError,
    TrainingError,
    UsageError,
)

if TYPE_CHECKING:
    from detect.data.load import load_dataset
    from detect.evaluation.evaluate import Evaluation, evaluate
    from detect.inference.load import load_model
    from detect.inference.predictor import Predictor
    from detect.structures.class_names import ClassNames
    from detect.structures.detections import Detections
    from detect.structures.image_record import ImageRecord
    from detect.training.api import overfit_test, train
    from detect.training.config import TrainConfig
    from detect.training.trainer import TrainResult

__version__ = "0.2.0"

__all__ = [
    "CheckpointError",
    "ClassNames",
    "DataError",
    "DetectError",
    "Detections",
    "DiskError",
    "Evaluation",
    "FetchError",
    "ImageRecord",
    "MediaError",
    "Predictor",
    "TrainConfig",
    "TrainResult",
    "TrainingError",
    "UsageError",
    "evaluate",
    "load_dataset",
    "load_model",
    "overfit_test",
    "train",
]

# Name -> module that is imported when the name is first used.
_LAZY = {
    "ClassNames": "detect.structures.class_names",
    "Detections": "detect.structures.detections",
    "Evaluation": "detect.evaluation.evaluate",
    "ImageRecord": "detect.structures.image_record",
    "Predictor": "detect.inference.predictor",
    "TrainConfig": "detect.training.config",
    "TrainResult": "detect.training.trainer",
    "evaluate": "detect.evaluation.evaluate",
    "load_dataset": "detect.data.load",
    "load_model": "detect.inference.load",
    "overfit_test": "detect.training.api",
    "train": "detect.training.api",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'detect' has no attribute '{name}'")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
