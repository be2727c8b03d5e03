"""How large the images should be."""

from __future__ import annotations

import math

import numpy as np

from detect.training.auto.facts import Choice, Facts

# The finest map has a stride of 4 pixels and anchors from 16: an object of less than 24 is few cells of it, one of 32
# is what COCO calls medium. From 64 on a smaller image shows all there is to see, at less cost.
_TOO_SMALL, _ENOUGH, _PLENTY = 24, 32, 64
_LEAST, _MOST, _STEP = 320, 800, 32
_SMALL_SHARE = 0.1
_ENLARGED = 1.5  # beyond, images only cost more: there is no more to see


def image_size(facts: Facts, default: int = 480) -> Choice[int]:
    """The short side in pixels: ``default`` unless the small objects are clearly too small for it, or so large that
    less would do, or the images are much smaller; a multiple of 32 from 320 to 800.

    The small ones are the smallest tenth, each class weighing the same as it does in AP.
    """
    if not len(facts.boxes):
        return Choice(default, "there are no objects to measure")
    small = _smallest(facts.across, facts.labels)
    at_default = small * default
    limit = max(_LEAST, int(_ENLARGED * np.median(facts.own_sides)) // _STEP * _STEP)
    wanted = default
    if at_default < _TOO_SMALL:
        wanted = min(_MOST, _rounded_up(_ENOUGH / small))
    elif at_default > _PLENTY:
        wanted = min(default, max(_LEAST, _rounded_up(_PLENTY / small)))
    size = min(wanted, limit)
    whose = "the objects" if len(np.unique(facts.labels)) == 1 else "the objects, all classes weighing the same,"
    reason = f"a tenth of {whose} are under {small * size:.0f} px across at that size"
    if size == default:
        return Choice(size, reason)
    reason += f", {at_default:.0f} at {default}"
    if size < wanted:
        reason += f", and more would enlarge the images over {_ENLARGED} times"
    return Choice(size, reason)


def _rounded_up(side: float) -> int:
    return math.ceil(side / _STEP) * _STEP


def _smallest(values: np.ndarray, labels: np.ndarray) -> float:
    """That of ``values`` which the smallest tenth does not exceed, if all labels weigh the same together."""
    weights = 1 / np.bincount(labels)[labels]
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, _SMALL_SHARE * below[-1])])


def own_size(model: str, side: int, most: int = 480) -> Choice[int]:
    """The short side for a whole ``model`` that was made for ``side`` pixels."""
    if side <= most:
        return Choice(side, f"what {model} was made for")
    return Choice(most, f"{model} was made for {side}, which takes {(side / most) ** 2:.1f} times as long")
