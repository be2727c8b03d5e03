"""Default of ``anchors``: anchor boxes fitted to the objects, for models whose RPN starts from random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detect.models.anchors import ASPECT_RATIOS, anchor_sizes
from detect.text import counted
from detect.training.auto.fitted_default import FittedDefault
from detect.training.auto.statistics import DatasetStatistics

_STRIDES = (4, 8, 16, 32, 64)  # of the FPN levels of every model with a backbone; each has its own anchor sizes
_MAX_OBJECTS = 2_000  # a sample of this size is precise enough
_MIN_OBJECTS = 100  # with fewer, one object changes the recall by more than a point
_JITTER_SCALES = 4  # scales of the jitter range at which every object is measured
_MIN_GAIN = 0.005
# Sizes per octave for 1, 2 and 3 aspect ratios, so that there are at most six anchors per location, as by default.
# With one ratio four are enough, since anchors of still closer sizes overlap almost completely.
_SIZES_PER_OCTAVE = {1: 4, 2: 3, 3: 2}
_OCTAVE_SHIFTS = np.arange(-1.5, 1.26, 0.25)  # of all sizes; small objects should stay on the fine levels
_RATIO_QUANTILES = ((0.5,), (0.25, 0.75), (0.15, 0.5, 0.85), (0.05, 0.5, 0.95))  # of the objects' own aspect ratios


class Anchors(NamedTuple):
    """Anchor boxes, as in ``Architecture``.

    sizes: for each FPN level its anchor sizes in pixels of the resized image.  aspect_ratios: height / width.
    """

    sizes: tuple[tuple[int, ...], ...]
    aspect_ratios: tuple[float, ...]


@dataclass(frozen=True)
class Coverage:
    """Overlap of the objects with the anchors before training.

    recall: fraction of the objects that have an IoU of at least 0.5 with an anchor.
    mean_iou: mean over the objects of the best IoU.
    """

    recall: float
    mean_iou: float


def fit_anchors(
    statistics: DatasetStatistics, imgsz: int, jitter: Sequence[float] = (1.0, 1.0)
) -> FittedDefault[Anchors]:
    """Return anchors for images whose short side is ``imgsz`` times a factor in the range ``jitter``.

    The default anchors are kept if there are fewer than 100 objects, or unless other anchors raise the recall (see
    ``Coverage``) by at least half a percentage point. There are never more anchors per location than by default.
    """
    default = Anchors(anchor_sizes(imgsz), ASPECT_RATIOS)
    if len(statistics.boxes) < _MIN_OBJECTS:
        objects = counted(len(statistics.boxes), "object")
        return FittedDefault(default, f"the default anchors, since {objects} are too few to fit anchors to")
    boxes, image_hw = scale_objects(statistics, imgsz, jitter)
    before = anchor_coverage(boxes, image_hw, default)
    measured = [(anchor_coverage(boxes, image_hw, anchors), anchors) for anchors in _candidates(boxes, imgsz)]
    better = [one for one in measured if one[0].recall >= before.recall + _MIN_GAIN]
    if not better:
        return FittedDefault(
            default, f"the default anchors, {_in_words(default, before)}; fitted ones are hardly better"
        )
    # Recall alone would lower the IoU of many objects to reach one more, so the mean IoU counts too.
    after, best = max(better, key=lambda one: one[0].recall + one[0].mean_iou)
    gain = f"(default anchors {before.recall:.1%}), mean best IoU {after.mean_iou:.2f} ({before.mean_iou:.2f})"
    return FittedDefault(best, f"{_in_words(best, after)} {gain}")


def _in_words(anchors: Anchors, coverage: Coverage) -> str:
    ratios = ", ".join(f"{ratio:g}" for ratio in anchors.aspect_ratios)
    return (
        f"sizes {anchors.sizes[0][0]} to {anchors.sizes[-1][-1]} px, aspect ratios {ratios}, "
        f"reach {coverage.recall:.1%} of the objects at IoU 0.5"
    )


def _candidates(boxes: np.ndarray, imgsz: int) -> list[Anchors]:
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    log_ratios = np.log(height / width)
    shapes = {
        tuple(sorted({float(f"{r:.2g}") for r in np.exp(np.quantile(log_ratios, quantiles))}))
        for quantiles in _RATIO_QUANTILES
    }
    candidates = [
        Anchors(anchor_sizes(imgsz, octave_shift=shift, sizes_per_octave=_SIZES_PER_OCTAVE[len(shape)]), shape)
        for shape in sorted({ASPECT_RATIOS, *shapes})
        for shift in _OCTAVE_SHIFTS.tolist()
    ]
    return [anchors for anchors in candidates if _min_side(anchors) >= _STRIDES[0]]


def _min_side(anchors: Anchors) -> float:
    """Return the shortest side of all anchors in pixels; torchvision rounds sides below 1 to 0, and losses diverge."""
    return anchors.sizes[0][0] * min(min(ratio, 1 / ratio) ** 0.5 for ratio in anchors.aspect_ratios)


def scale_objects(statistics: DatasetStatistics, imgsz: int, jitter: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return a sample of the objects as training sees them, at several scales of the jitter range.

    Returns boxes float32 [n, 4] and the (height, width) of their resized images float32 [n, 2]. The random window
    that is cut from enlarged images is not applied.
    """
    count = len(statistics.boxes)
    rows = np.linspace(0, count - 1, min(_MAX_OBJECTS, count)).astype(np.int64)
    images = statistics.images[rows]
    low, high = jitter
    factors = np.geomspace(low, high, _JITTER_SCALES if low < high else 1)
    scales = [imgsz * factor / statistics.native_sizes[images] for factor in factors]
    boxes = np.concatenate([statistics.boxes[rows] * scale[:, None] for scale in scales])
    image_hw = np.concatenate([statistics.image_hw[images] * scale[:, None] for scale in scales])
    return boxes.astype(np.float32), image_hw.astype(np.float32)


def anchor_coverage(boxes: np.ndarray, image_hw: np.ndarray, anchors: Anchors) -> Coverage:
    """Return how well ``anchors`` cover the ``boxes`` from ``scale_objects``; without boxes both values are 1."""
    if not len(boxes):
        return Coverage(1.0, 1.0)
    best = best_ious(boxes, image_hw, anchors)
    return Coverage(float((best >= 0.5).mean()), float(best.mean()))


def best_ious(boxes: np.ndarray, image_hw: np.ndarray, anchors: Anchors) -> np.ndarray:
    """Return the highest IoU of each box with an anchor, float32 [n].

    boxes: xyxy [n, 4] on images of ``image_hw`` [n, 2], both in pixels of the resized image.
    Anchor centers are multiples of the stride, and sides are rounded, as in torchvision's AnchorGenerator. Among the
    anchors of one shape, one whose center is nearest to that of a box overlaps it most.
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
