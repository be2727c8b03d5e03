"""Fields that the settings of several programs share."""

from __future__ import annotations

from typing import Any

from detect.models.zoo import BUNDLED, DETECTORS
from detect.options import option

FORMATS = ("auto", "coco", "csv", "labelme", "via", "voc", "yolo")  # the readers', which take longer to import
DATA = "dataset: a folder, a name in datasets/ or a YAML file"


def model(purpose: str = "") -> Any:
    """Return the field ``model`` of the programs that run a detector; ``purpose`` begins its help."""
    names = ", ".join((*BUNDLED, *DETECTORS))
    return option("balloon", f"{purpose}{names}, or a checkpoint: a file or its URL", metavar="NAME|FILE|URL")
