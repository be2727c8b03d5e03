"""COCO's matching of detections with ground-truth objects (https://cocodataset.org/#detection-eval), vectorized.

Within an image and a class, detections choose in descending order of score. Each takes the object with the highest
IoU among those that are still free, if that IoU reaches the threshold; a crowd region is never used up. Objects that
an area range excludes are taken only if no other object fits, and a detection that takes one counts neither as correct
nor as a false positive. pycocotools does this in a loop over images, classes, area ranges and thresholds. Here one
round handles the next detection of every image and class at once, for all ranges and thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.detection_limit import STANDARD_LIMIT
from detect.evaluation.overlaps import Overlaps

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
ALL_AREAS = ((0.0, 1e10),)
AREA_RANGES = (*ALL_AREAS, (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large


@dataclass(frozen=True)
class Matching:
    """Matches for A area ranges and T IoU thresholds of G objects and D detections.

    matched: int32 [A, T, D], row of the object that each detection matches, or -1.
    ignored: bool [A, T, D], whether a detection counts neither as correct nor as a false positive: its object is a
        crowd region or outside the area range, or it matches nothing and is itself outside the range.
    gt_ignored: bool [A, G], whether an object is a crowd region or outside the area range.
    considered: bool [D], whether a detection is among the best of its image and class that are scored. Others match
        nothing and count for nothing.
    """

    matched: np.ndarray
    ignored: np.ndarray
    gt_ignored: np.ndarray
    considered: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether a detection is a true positive, bool [A, T, D]."""
        return (self.matched >= 0) & ~self.ignored & self.considered

    @property
    def counts(self) -> np.ndarray:
        """Whether a detection is a true or a false positive, bool [A, T, D]."""
        return ~self.ignored & self.considered


def match(
    table: EvaluationTable,
    overlaps: Overlaps,
    kind: str = "bbox",
    *,
    iou_thresholds: np.ndarray = IOU_THRESHOLDS,
    area_ranges: tuple[tuple[float, float], ...] = ALL_AREAS,
    limit: int = STANDARD_LIMIT,
) -> Matching:
    """Match the ``limit`` best detections of each image and class with the objects of their class.

    overlaps: of boxes or masks, as ``kind`` ("bbox" or "segm") says.
    iou_thresholds: float64 [T], ascending, at least 0.1.
    area_ranges: A ranges of areas in square pixels, limits included.
    """
    low, high = np.array(area_ranges).T[:, :, None]
    gt_ignored = table.gt_crowd | (table.gt_area < low) | (table.gt_area > high)  # [A, G]
    area = table.dt_area(kind)
    outside = (area < low) | (area > high)  # [A, D]
    considered = table.dt_rank < limit
    same_class = table.dt_label[overlaps.detection] == table.gt_label[overlaps.ground_truth]
    kept = same_class & considered[overlaps.detection] & (overlaps.iou >= iou_thresholds[0])
    matched = _match(table, overlaps.take(kept), iou_thresholds, gt_ignored)
    object_ignored = np.take_along_axis(
        np.concatenate([gt_ignored, np.zeros((len(low), 1), bool)], axis=1)[:, None], matched, axis=2
    )
    ignored = np.where(matched >= 0, object_ignored, outside[:, None])
    return Matching(matched, ignored, gt_ignored, considered)


def _match(table: EvaluationTable, pairs: Overlaps, iou_thresholds: np.ndarray, gt_ignored: np.ndarray) -> np.ndarray:
    """Return ``Matching.matched``. pairs: those within a class that reach the lowest threshold."""
    ranges, thresholds = len(gt_ignored), len(iou_thresholds)
    matched = np.full((ranges, thresholds, len(table.dt_image)), -1, np.int32)
    taken = np.zeros((ranges, thresholds, len(gt_ignored[0])), bool)
    # The last pair of a detection is preferred: of the highest IoU and, among equal ones, the last object.
    pairs = pairs.take(np.lexsort((pairs.ground_truth, pairs.iou, pairs.detection)))
    reaches = pairs.iou >= np.minimum(iou_thresholds, 1 - 1e-10)[:, None]  # [T, P]
    preferred = ~gt_ignored[:, pairs.ground_truth] * len(pairs.iou)  # [A, P]; added to the position of a pair
    reusable = table.gt_crowd[pairs.ground_truth]
    for pair_rows, starts in _rounds(table, pairs):
        objects = pairs.ground_truth[pair_rows]
        free = reaches[:, pair_rows] & (~taken[:, :, objects] | reusable[pair_rows])  # [A, T, p]
        value = np.where(free, (np.arange(len(pair_rows)) + preferred[:, pair_rows])[:, None], -1)
        best = np.maximum.reduceat(value, starts, axis=2)  # [A, T, d]
        a, t, d = np.nonzero(best >= 0)
        chosen = objects[best[a, t, d] % len(pairs.iou)]
        matched[a, t, pairs.detection[pair_rows[starts]][d]] = chosen
        taken[a, t, chosen] = True
    return matched


def _rounds(table: EvaluationTable, pairs: Overlaps) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pairs of each round: their rows, int64 [p], and the first of each detection among them, int64 [d].

    pairs: sorted by detection. Round r has the r-th best detection, of those with a pair, of each image and class.
    """
    first = np.flatnonzero(np.diff(pairs.detection, prepend=-1))  # of each detection
    detections, counts = pairs.detection[first], np.diff(first, append=len(pairs.detection))
    group = table.dt_image[detections] * (table.num_classes + 1) + table.dt_label[detections]
    order = np.argsort(group, kind="stable")  # detections of an image are sorted by score
    group_starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(group_starts, np.diff(group_starts, append=len(order)))
    by_rank = np.argsort(rank, kind="stable")
    limits = np.searchsorted(rank[by_rank], np.arange(rank.max(initial=-1) + 2))
    rounds = []
    for low, high in pairwise(limits.tolist()):
        members = by_rank[low:high]
        size = counts[members]
        starts = np.cumsum(size) - size
        rows = np.arange(size.sum()) + np.repeat(first[members] - starts, size)
        rounds.append((rows, starts))
    return rounds
