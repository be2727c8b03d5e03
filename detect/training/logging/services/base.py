"""What the experiment trackers have in common."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from detect.errors import UsageError

PROJECT = "detect"  # name of the project, unless the tracker's own environment variables name another one


def require(library: str) -> None:
    """Raise UsageError if the library of a tracker is not installed."""
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:  # a folder of this name, such as W&B's own in the current folder
        raise UsageError(
            f"it needs the package {library}, which the extra [{library}] installs: python -m pip install {library}"
        )


@dataclass(frozen=True)
class Experiment:
    """Description of a run for an experiment tracker.

    name: name of the run.
    folder: folder of the run, for files that the library writes.
    settings: settings of the run, as plain values.
    id: experiment id assigned by the tracker, needed to resume; None for a new run.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    id: str | None = None


class TrackerRun(Protocol):
    """An open experiment. Each method may raise any exception of the library.

    id: experiment id assigned by the tracker, needed to resume.
    where: link to the experiment, or its folder; "" if it is not known.
    """

    id: str
    where: str

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values of a finished epoch, by their names in results.csv."""

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        """Log images (title -> uint8 RGB [H, W, 3])."""

    def close(self, *, finished: bool) -> None:
        """Send the remaining data and end the experiment.  finished: False after an error or an interruption."""
