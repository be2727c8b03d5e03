"""Weights & Biases (https://docs.wandb.ai), with the library ``wandb``.

The library reads WANDB_API_KEY, WANDB_PROJECT, WANDB_MODE=offline and other variables itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from detect.training.logging.services.base import PROJECT, Experiment, TrackerRun, require

_START_TIMEOUT = 30  # seconds


def open_wandb(experiment: Experiment) -> TrackerRun:
    """Start an experiment, or continue it. Its files are in the subfolder ``wandb`` of the run."""
    return _WandbRun(experiment)


class _WandbRun:
    def __init__(self, experiment: Experiment) -> None:
        require("wandb")
        import wandb

        self._image = wandb.Image
        with _no_questions():
            self._run: Any = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=experiment.name,
                dir=experiment.folder,
                config=dict(experiment.settings),
                id=experiment.id,
                resume="allow",
                reinit="create_new",  # leaves a run of the caller alone
                settings=wandb.Settings(init_timeout=_START_TIMEOUT, console="off", quiet=True),
            )
        self.id = str(self._run.id)
        self.where = str(experiment.folder / "wandb") if self._run.offline else str(self._run.url or "")

    def log_values(self, epoch: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=epoch)

    def log_images(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        self._run.log(
            {f"images/{title}": self._image(image, caption=title) for title, image in images.items()}, step=epoch
        )

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


@contextmanager
def _no_questions() -> Iterator[None]:
    """Disable wandb's interactive login prompt inside the block. A missing key is then an error."""
    terminal = sys.stdin
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = terminal
