"""What the settings of several scripts have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detect.fields import option
from detect.models.zoo import BUNDLED, DETECTORS

FORMATS = ("auto", "coco", "csv", "labelme", "via", "voc", "yolo")  # the readers', which take longer to import
DATA = "data set: a folder, a name in datasets/ or a YAML file"


def model(for_what: str = "") -> Any:
    """--model of the programs that look at pictures."""
    names = ", ".join((*BUNDLED, *DETECTORS))
    return option(
        "balloon", f"{for_what}{names}, or a checkpoint: a file, or its web address", metavar="NAME|FILE|URL"
    )


def device() -> Any:
    """--device."""
    return option("auto", "where to compute", metavar="auto|cpu|cuda|cuda:0|mps")


def output_dir(default: str) -> Any:
    """--output-dir."""
    return option(Path(default), "where the runs' folders go", metavar="D")
