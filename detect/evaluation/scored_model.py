"""What can be evaluated: a model, or a JSON file with the detections of one. Nothing here imports torch or NumPy."""

from __future__ import annotations

import os
from pathlib import Path

from detect.data import FOLDS_FILE
from detect.errors import DataError, UsageError
from detect.io.links import is_link
from detect.models.zoo import check_model, file_of_model


def is_results_file(model: object) -> bool:
    """Return whether ``model`` names a file of detections: whether it is text or a path that ends in ``.json``."""
    return isinstance(model, str | Path) and file_of_model(str(model)).suffix.lower() == ".json"


def is_cross_validation(model: str | Path) -> bool:
    """Return whether ``model`` is the folder of a cross-validation."""
    return os.path.isfile(os.path.join(model, FOLDS_FILE))  # noqa: PTH113, PTH118 - Path raises for long names


def check_scored_model(model: str | Path, **settings: object) -> None:
    """Check that ``model`` can be evaluated: what ``check_model`` accepts, or a JSON file that exists.

    settings: those that only a model has, such as ``imgsz``; None or False, or "auto" for ``device``, if not given.

    Raises UsageError for settings of a model with a file of detections and for the URL of one, DataError for a missing
    file, and what ``check_model`` raises.
    """
    if not is_results_file(model):
        check_model(str(model))
        return
    if is_link(str(model)):
        raise UsageError(f"`model`: detections are read from a file, not from a URL: download {model} first")
    for name, value in settings.items():
        if value not in (None, False) and (name, value) != ("device", "auto"):
            raise UsageError(
                f"`{name}={value!r}` is for a model; {Path(model).name} holds detections of a finished run"
            )
    if not os.path.isfile(model):  # noqa: PTH113 - Path raises for names that are too long
        kind = "is a folder" if os.path.isdir(model) else "does not exist"  # noqa: PTH112
        raise DataError(f"the file of detections {model} {kind}")
