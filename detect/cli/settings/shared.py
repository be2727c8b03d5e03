"""What the settings of several scripts have in common."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.models.zoo import BUNDLED, DETECTORS
from detect.options import option

_LONGEST_NAME = 200  # bytes; what numbers it needs room too
FORMATS = ("auto", "coco", "csv", "labelme", "via", "voc", "yolo")  # the readers', which take longer to import
DATA = "dataset: a folder, a name in datasets/ or a YAML file"


def model(for_what: str = "") -> Any:
    """--model of the programs that look at images."""
    names = ", ".join((*BUNDLED, *DETECTORS))
    return option(
        "balloon", f"{for_what}{names}, or a checkpoint: a file, or its web address", metavar="NAME|FILE|URL"
    )


def device() -> Any:
    """--device."""
    return option("auto", "where to compute", metavar="auto|cpu|cuda|cuda:0|mps")


def check_name(name: str | None) -> None:
    """UsageError where --name is not the plain name of a folder."""
    if name is not None and (
        name in ("", ".", "..") or set(name) & set("/\\\0") or len(os.fsencode(name)) > _LONGEST_NAME
    ):
        shown = name if len(name) <= 60 else f"{name[:60]}..."
        raise UsageError(f"--name {shown!r} must be a folder's name of at most {_LONGEST_NAME} bytes, no path")


def output_dir(default: str) -> Any:
    """--output-dir."""
    return option(Path(default), "where the runs' folders go", metavar="D")
