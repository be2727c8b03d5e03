"""Fields that the settings of several programs share."""

from __future__ import annotations

from typing import Any

from detect.models.zoo import BUNDLED, DETECTORS
from detect.options import max_detections_option, option

DATA = "dataset: a folder, a name in datasets/ or a YAML file"


def model_option() -> Any:
    """Return the field ``model`` of the programs that run a detector."""
    names = ", ".join((*BUNDLED, *DETECTORS))
    return option("balloon", f"{names}, or a checkpoint: a file or its URL", metavar="NAME|FILE|URL")


def detection_limit_option() -> Any:
    """Return the field ``max_detections`` of the programs that show what a detector finds."""
    return max_detections_option(
        "maximum number of detections per image, those with the highest scores; more than the model's take longer"
        " (default: the model's, usually 100)"
    )
