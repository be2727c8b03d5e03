"""Default of ``imgsz``: the short side to which images are resized."""

from __future__ import annotations

import math

import numpy as np

from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.statistics import DatasetStatistics

# Sizes of an object in pixels of the resized image. The finest feature map has a stride of 4 pixels and anchors from
# 16: an object below 24 covers few cells, 32 is where COCO's medium objects begin, and above 64 a smaller image shows
# as much at a lower cost.
_TOO_SMALL, _SUFFICIENT, _MORE_THAN_ENOUGH = 24, 32, 64
_MIN_SIZE, _MAX_SIZE, _MULTIPLE = 320, 800, 32
_SMALL_QUANTILE = 0.1
_MAX_ENLARGEMENT = 1.5  # a larger factor costs time and adds no detail


def fit_image_size(statistics: DatasetStatistics, default: int = 480) -> FittedDefault[int]:
    """Return the short side in pixels, a multiple of 32 from 320 to 800.

    It is ``default``, unless the small objects would be too small or larger than necessary, or the images would be
    enlarged by more than 1.5. The small objects are the smallest tenth, all classes having equal weight as in AP.
    """
    if not len(statistics.boxes):
        return FittedDefault(default, "there are no objects to measure")
    small = _weighted_quantile(statistics.relative_sizes, statistics.labels)
    at_default = small * default
    limit = max(_MIN_SIZE, int(_MAX_ENLARGEMENT * np.median(statistics.native_sizes)) // _MULTIPLE * _MULTIPLE)
    wanted = default
    if at_default < _TOO_SMALL:
        wanted = min(_MAX_SIZE, _round_up(_SUFFICIENT / small))
    elif at_default > _MORE_THAN_ENOUGH:
        wanted = min(default, max(_MIN_SIZE, _round_up(_MORE_THAN_ENOUGH / small)))
    size = min(wanted, limit)
    weighting = "" if len(np.unique(statistics.labels)) == 1 else " (all classes weighted equally)"
    reason = f"a tenth of the objects{weighting} is smaller than {small * size:.0f} px at that size"
    if size == default:
        return FittedDefault(size, reason)
    reason += f", {at_default:.0f} px at {default}"
    if size < wanted:
        reason += f"; a larger size would enlarge the images by more than {_MAX_ENLARGEMENT}"
    return FittedDefault(size, reason)


def _round_up(side: float) -> int:
    return math.ceil(side / _MULTIPLE) * _MULTIPLE


def _weighted_quantile(values: np.ndarray, labels: np.ndarray) -> float:
    """Return the 10 % quantile of ``values``, where all labels have the same total weight."""
    weights = 1 / np.bincount(labels)[labels]
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, _SMALL_QUANTILE * cumulative[-1])])


def native_image_size(model: str, native: int, limit: int = 480) -> FittedDefault[int]:
    """Return the short side for a whole torchvision ``model``: its published size ``native``, at most ``limit``."""
    if native <= limit:
        return FittedDefault(native, f"the published size of {model}")
    factor = (native / limit) ** 2
    return FittedDefault(limit, f"the published size of {model}, {native}, takes {factor:.1f} times as long")
