"""Fields that the settings of several programs share."""

from __future__ import annotations

from typing import Any

from detect.models.zoo import AUTO, AUTO_DETECTORS, AUTO_FALLBACK, BUNDLED, DETECTORS
from detect.options import max_detections_option, option

DATA = "dataset: a folder, a name in datasets/ or a YAML file"
DATA_ROOT = "folder with the files of a named dataset (default: datasets/NAME)"
_NAMES = ", ".join((*BUNDLED, *DETECTORS))


def model_option(more: str = "") -> Any:
    """Return the field ``model`` of the programs that measure or convert a detector; ``more`` is added to its help."""
    return option("balloon", f"{_NAMES}, or a checkpoint: a file or its URL{more}", metavar="NAME|FILE|URL")


def detection_model_option() -> Any:
    """Return the field ``model`` of the programs that show what a detector finds."""
    auto = f"{AUTO_DETECTORS['cpu']} on a CPU, {AUTO_DETECTORS['cuda']} on a GPU, {AUTO_FALLBACK} without a network"
    return option(AUTO, f"{AUTO}: {auto}; {_NAMES}, or a checkpoint: a file or its URL", metavar="auto|NAME|FILE|URL")


def nms_option() -> Any:
    """Return the field ``nms`` of the programs that show what a detector finds."""
    return option(
        None,
        "IoU threshold of NMS, 0..1: if two boxes of a class overlap more, the one with the lower score is dropped"
        " (default: the model's, usually 0.5)",
        low=0,
        high=1,
    )


def tile_option() -> Any:
    """Return the field ``tile`` of the programs that run a detector."""
    return option(
        None,
        "also run the model on overlapping tiles of larger images, SIZE pixels of the image wide and high, which finds"
        " small objects and takes time for each tile; auto: at the scale of the training images, only in images that"
        " are much larger (default: no tiles)",
        metavar="auto|SIZE",
    )


def detection_limit_option() -> Any:
    """Return the field ``max_detections`` of the programs that show what a detector finds."""
    return max_detections_option(
        "maximum number of detections per image, and per tile, those with the highest scores; more than the model's"
        " take longer (default: the model's, usually 100)"
    )
