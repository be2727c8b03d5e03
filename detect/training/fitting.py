"""The config of a run while its missing settings are fitted to the dataset and the machine."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from detect import distributed
from detect.data.sampling import limit_backgrounds, repeat_factors
from detect.models.pretrained import UsedWeights
from detect.progress import report
from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.statistics import DatasetStatistics
from detect.training.config import TrainConfig
from detect.training.data import TrainingData

T = TypeVar("T")


class FittedConfig:
    """A config whose missing settings are fitted one after the other, as data and model become known.

    config: the config so far.  data: the dataset.
    reasons: name of a setting -> why it was fitted so, or what became of one that stays open, such as ``device``.
    weights: where the initial weights come from.
    lines: lines about the fitted defaults that are not reported yet.
    """

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        self.config, self.data = config, data
        self.reasons: dict[str, str] = {}
        self.weights = UsedWeights("")
        self.lines: list[str] = []

    def fit(self, name: str, default: FittedDefault[T], *, usual: T | None = None) -> T:
        """Return the setting ``name``; if it is None, set it to ``default`` first, and keep a line for
        ``report_lines`` about a value that is not ``usual``."""
        if (given := getattr(self.config, name)) is not None:
            return given
        change: dict[str, Any] = {name: default.value}
        self.config = replace(self.config, **change)
        self.reasons[name] = default.reason
        shown = f"{default.value:g}" if isinstance(default.value, float) else repr(default.value)
        if default.value != usual:
            self.lines.append(f"`{name}={shown}`: {default.reason}")
        return default.value

    def note(self, name: str, result: object) -> None:
        """Keep what became of a setting that stays open, None or ``auto``, so that it suits another machine or preset
        when the settings are used again."""
        self.reasons.pop(name, None)  # of the first part of a resumed run, which may have run on another machine
        if getattr(self.config, name) in (None, "auto"):
            self.reasons[name] = f"in this run: {' '.join(str(result).split())}"

    def report_lines(self) -> None:
        """Report the fitted defaults, one line each."""
        for line in self.lines:
            report(line)
        self.lines = []

    @cached_property
    def statistics(self) -> DatasetStatistics:
        """Statistics of the train split."""
        return DatasetStatistics.from_table(self.data.train)

    @cached_property
    def image_repeats(self) -> np.ndarray | None:
        """Expected number of times that each image occurs per epoch, float64 [N]; None if each occurs once.

        Below 1, which only images without objects have, it is the probability that the image occurs.

        Read it only after ``repeat_threshold`` is fitted, since the first value is kept.
        """
        found, count = self.statistics, len(self.data.train)
        repeats = None
        if self.config.repeat_threshold:
            repeats = repeat_factors(found.images, found.labels, count, self.config.repeat_threshold)
        if self.config.background_ratio is not None:
            repeats = limit_backgrounds(repeats, found.images, count, self.config.background_ratio)
        return repeats

    @property
    def images_per_epoch(self) -> int:
        """Expected number of images per epoch, repeated images counted each time."""
        repeats = self.image_repeats
        return len(self.data.train) if repeats is None else round(float(repeats.sum()))

    @property
    def images_per_step(self) -> int:
        """Number of images per optimizer step, over all batches and processes."""
        return self.config.batch_size * self.config.accumulate * distributed.world().size

    @property
    def steps_per_epoch(self) -> int:
        """Expected number of steps per epoch; repeated images make it vary at random."""
        return math.ceil(self.images_per_epoch / self.images_per_step)
