"""The settings of train.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detect.options import option
from detect.training.config import TrainConfig


@dataclass
class TrainSettings(TrainConfig):
    """train.py"""

    overfit: int | None = option(
        None,
        "instead of training, test whether the model can overfit this number of images, and print possible causes if"
        " it cannot",
        low=1,
        metavar="N",
    )
    debug_step: Path | None = option(
        None, "instead of training, repeat the failed step in this file and print a report", metavar="FILE"
    )
