"""Default of ``max_detections``: the maximum number of detections per image."""

from __future__ import annotations

import math

import numpy as np

from detect.options import HIGHEST_MAX_DETECTIONS
from detect.text import counted
from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.statistics import DatasetStatistics

_MARGIN = 1.25  # other images may have more objects, and some detections are false positives
_MULTIPLE = 50


def fit_max_detections(statistics: DatasetStatistics, default: int) -> FittedDefault[int]:
    """Return ``default``, the number of the model itself, or more if the most crowded image needs more."""
    most = int(np.bincount(statistics.images).max(initial=0))
    needed = math.ceil(_MARGIN * most / _MULTIPLE) * _MULTIPLE
    reason = f"the most crowded training image has {counted(most, 'object')}"
    return FittedDefault(min(max(default, needed), HIGHEST_MAX_DETECTIONS), reason)
