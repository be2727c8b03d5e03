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
    """A run for an experiment tracker.

    name: of the run.  folder: of the run, for files that the library writes.
    settings: of the run, as plain values.
    id: that the tracker gave to the experiment when the run was started; None for a new one.
    """

    name: str
    folder: Path
    settings: Mapping[str, Any]
    id: str | None = None


class Service(Protocol):
    """An open experiment. Each method may raise any exception of the library.

    id: with which the experiment is continued.  where: link or folder at which it is found, "" if it is not known.
    """

    id: str
    where: str

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log the values of a finished epoch, by their names in results.csv."""

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        """Log images (title -> uint8 RGB [H, W, 3])."""

    def close(self, *, finished: bool) -> None:
        """Send what is left and end the experiment.  finished: whether the run came to its end."""
