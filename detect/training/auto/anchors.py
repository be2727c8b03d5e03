"""Anchors that reach the objects, for the models whose region proposal network starts with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detect.models.anchors import ASPECT_RATIOS, anchor_sizes
from detect.training.auto.facts import Choice, Facts

_STRIDES = (4, 8, 16, 32, 64)  # of the feature maps of every model on a backbone, one level of anchors each
_OBJECTS = 2_000  # more say no more
_FEW = 100  # objects, of which half a point of recall is less than one
_SCALES = 4  # of the jitter, at which each object is looked at
_GAIN = 0.005
# Sizes an octave for 1, 2 and 3 ratios: no more than the six anchors at each place that the default ones have; with
# one ratio four, since still finer steps of size overlap almost as they are. And how far to move all sizes, so that
# small ones stay on the fine maps.
_SIZES_AN_OCTAVE = {1: 4, 2: 3, 3: 2}
_OCTAVES = np.arange(-1.5, 1.26, 0.25)
# Of the objects' own ratios, those at these shares in between.
_QUANTILES = ((0.5,), (0.25, 0.75), (0.15, 0.5, 0.85), (0.05, 0.5, 0.95))


class Anchors(NamedTuple):
    """What an Architecture has: for each level its sizes in pixels at the training size; height over width."""

    sizes: tuple[tuple[int, ...], ...]
    aspect_ratios: tuple[float, ...]


@dataclass(frozen=True)
class Reach:
    """What anchors overlap before anything is learnt: the share of the objects that one of them has an IoU of at least
    0.5 with, and the mean of the best IoU of each."""

    recall: float
    mean_iou: float


def fit_anchors(facts: Facts, imgsz: int, jitter: Sequence[float] = (1.0, 1.0)) -> Choice[Anchors]:
    """The anchors for images of short side ``imgsz`` times ``jitter`` (its range): the default ones, unless others,
    no more of them, reach at least half a point more of the objects."""
    default = Anchors(anchor_sizes(imgsz), ASPECT_RATIOS)
    if len(facts.boxes) < _FEW:
        return Choice(default, f"the default ones, as {len(facts.boxes)} objects are too few to fit others to")
    boxes, image_hw = _seen(facts, imgsz, jitter)
    before = _reach(boxes, image_hw, default)
    found = [(_reach(boxes, image_hw, anchors), anchors) for anchors in _candidates(boxes, imgsz)]
    better = [one for one in found if one[0].recall >= before.recall + _GAIN]
    if not better:
        return Choice(default, f"the default ones, {_in_words(default, before)}, and fitted ones hardly more")
    # By recall alone, the last object would cost all the others some of their overlap.
    after, best = max(better, key=lambda one: one[0].recall + one[0].mean_iou)
    gained = f"(default ones {before.recall:.1%}), best IoU {after.mean_iou:.2f} on average ({before.mean_iou:.2f})"
    return Choice(best, f"{_in_words(best, after)} {gained}")


def _in_words(anchors: Anchors, reach: Reach) -> str:
    ratios = ", ".join(f"{ratio:g}" for ratio in anchors.aspect_ratios)
    return (
        f"{anchors.sizes[0][0]}..{anchors.sizes[-1][-1]} px of height to width {ratios} "
        f"reach {reach.recall:.1%} of the objects at IoU 0.5"
    )


def _candidates(boxes: np.ndarray, imgsz: int) -> list[Anchors]:
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    ratios = np.log(height / width)
    shapes = {tuple(sorted({float(f"{r:.2g}") for r in np.exp(np.quantile(ratios, at))})) for at in _QUANTILES}
    every = [
        Anchors(anchor_sizes(imgsz, octaves=octaves, an_octave=_SIZES_AN_OCTAVE[len(shape)]), shape)
        for shape in sorted({ASPECT_RATIOS, *shapes})
        for octaves in _OCTAVES.tolist()
    ]
    return [anchors for anchors in every if _thinnest(anchors) >= _STRIDES[0]]


def _thinnest(anchors: Anchors) -> float:
    """The shortest side of all, in pixels; of less than one, torchvision would make none, and losses without end."""
    return anchors.sizes[0][0] * min(min(ratio, 1 / ratio) ** 0.5 for ratio in anchors.aspect_ratios)


def _seen(facts: Facts, imgsz: int, jitter: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float32 [n, 4] as training sees them, at several scales, and the (height, width) of their images [n, 2];
    what the window of an image that grew cuts off is left on."""
    rows = np.linspace(0, len(facts.boxes) - 1, min(_OBJECTS, len(facts.boxes))).astype(np.int64)
    images = facts.images[rows]
    low, high = jitter
    scales = [imgsz * f / facts.own_sides[images] for f in np.geomspace(low, high, _SCALES if low < high else 1)]
    boxes = np.concatenate([facts.boxes[rows] * scale[:, None] for scale in scales])
    image_hw = np.concatenate([facts.image_hw[images] * scale[:, None] for scale in scales])
    return boxes.astype(np.float32), image_hw.astype(np.float32)


def _reach(boxes: np.ndarray, image_hw: np.ndarray, anchors: Anchors) -> Reach:
    if not len(boxes):
        return Reach(1.0, 1.0)
    best = best_ious(boxes, image_hw, anchors)
    return Reach(float((best >= 0.5).mean()), float(best.mean()))


def best_ious(boxes: np.ndarray, image_hw: np.ndarray, anchors: Anchors) -> np.ndarray:
    """The highest IoU of each box with an anchor, float32 [n]; boxes xyxy on images of ``image_hw`` [n, 2].

    Anchors stand where torchvision's AnchorGenerator puts them, at multiples of the stride from 0, and have its
    rounding. Of those of a shape, one that stands nearest to a box overlaps it most.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = (high - low).prod(axis=1)
    roots = np.sqrt(np.array(anchors.aspect_ratios, np.float32))
    best = np.zeros(len(boxes), np.float32)
    for stride, sizes in zip(_STRIDES, anchors.sizes, strict=True):
        last = np.ceil(image_hw[:, ::-1] / stride) - 1
        nearest = np.clip(np.round((low + high) / 2 / stride), 0, last) * np.float32(stride)
        for size in sizes:
            for root in roots:
                half = np.round(np.array([size / root, size * root], np.float32) / 2)
                common = np.clip(np.minimum(high, nearest + half) - np.maximum(low, nearest - half), 0, None)
                common = common.prod(axis=1)
                best = np.maximum(best, common / (areas + 4 * half.prod() - common))
    return best
