"""COCO's precision and recall of matched detections (https://cocodataset.org/#detection-eval)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.detection_limit import RECALLS
from detect.evaluation.matching import Matching


def precision_and_recall(
    table: EvaluationTable, matching: Matching, limits: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what COCO calls precision and recall, 0..1, with -1 where a class has no object in an area range.

    limits: numbers of detections per image and class that count, ascending; the matching used at least the last one.

    precision: float64 [T, 101, K, A], the highest precision at each of COCO's 101 recalls or beyond it, for the last
    limit. recall: float64 [T, K, A, limits], the highest recall. T IoU thresholds and A area ranges of the matching.
    """
    ranges, thresholds, _ = matching.matched.shape
    precision = np.full((thresholds, len(RECALLS), table.num_classes, ranges), -1.0)
    recall = np.full((thresholds, table.num_classes, ranges, len(limits)), -1.0)
    correct, counts = matching.correct, matching.counts
    for k, (rows, objects) in enumerate(zip(by_class(table), objects_per_class(table, matching), strict=True)):
        is_correct, false = correct[:, :, rows], (counts & ~correct)[:, :, rows]
        false_positives = np.cumsum(false, axis=2, dtype=np.int32)
        within = [table.dt_rank[rows] < limit for limit in limits]
        for a in np.flatnonzero(objects).tolist():
            needed = objects_for_recalls(int(objects[a]))
            for m, kept in enumerate(within):
                recall[:, k, a, m] = np.count_nonzero(is_correct[a][:, kept], axis=1) / objects[a]
            for t in range(thresholds):
                at = np.flatnonzero(is_correct[a, t])
                precision[t, :, k, a] = _precision_at_recalls(false_positives[a, t, at], needed)
    return precision, recall


def by_class(table: EvaluationTable) -> Iterator[np.ndarray]:
    """Yield for each class the rows of its detections by descending score, int64 [n]; equal ones keep their order."""
    order = np.argsort(-table.dt_scores, kind="stable")
    order = order[np.argsort(table.dt_label[order], kind="stable")]
    yield from np.split(order, np.searchsorted(table.dt_label[order], np.arange(2, table.num_classes + 1)))


def objects_per_class(table: EvaluationTable, matching: Matching) -> np.ndarray:
    """Return the number of objects of each class in each area range, without crowds, int64 [K, A]."""
    counts = [
        np.bincount(table.gt_label[~ignored], minlength=table.num_classes + 1) for ignored in matching.gt_ignored
    ]
    return np.stack(counts, axis=1)[1:]


def objects_for_recalls(objects: int) -> np.ndarray:
    """Return how many of ``objects`` (at least 1) must be found to reach each of COCO's 101 recalls, int64 [101]."""
    reached = np.searchsorted(np.arange(1, objects + 1) / objects, RECALLS) + 1
    return np.minimum(reached, objects)


def _precision_at_recalls(false_positives: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Return the precision at COCO's 101 recalls, float64 [101]; 0 where the recall is not reached.

    false_positives: int [n], number of false positives that score higher than each of n correct detections.
    needed: result of ``objects_for_recalls``.
    """
    correct = np.arange(1, len(false_positives) + 1)
    precision = correct / (false_positives + correct + np.spacing(1))
    best_from_here = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return best_from_here[np.minimum(needed, len(correct) + 1) - 1]
