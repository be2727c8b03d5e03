"""Precision, recall and F1 as functions of the score threshold, and precision as a function of recall.

The curves of a class are exact: they have one point for every distinct score of its detections. The curve of all
classes is the mean over the classes with objects, as for COCO's AP and as Ultralytics shows it, so that a rare class
has the same weight as a frequent one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detect.evaluation.average_precision import by_class, objects_per_class, precision_and_recall
from detect.evaluation.columns import EvaluationTable
from detect.evaluation.detection_limit import RECALLS, STANDARD_LIMIT
from detect.evaluation.matching import Matching
from detect.evaluation.threshold_counts import rates

THRESHOLDS = np.linspace(0, 1, 201)  # at which curves are sampled for plots


@dataclass(frozen=True)
class ScoreCurve:
    """Precision, recall and F1 if detections below a score are dropped, for each of S distinct scores.

    scores: float64 [S], descending. A threshold of ``scores[i]`` keeps the detections that score at least as much.
    precision, recall, f1: float64 [S], 0..1. Recall and F1 are NaN without objects.
    objects: number of ground-truth objects without crowd regions.
    """

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    objects: int

    def at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return precision, recall and F1 at thresholds of any shape; above all scores NaN, 0 and 0."""
        point = np.searchsorted(-self.scores, -np.asarray(thresholds), side="right")  # number of scores kept
        nothing = 0.0 if self.objects else np.nan
        return (
            np.append(np.nan, self.precision)[point],
            np.append(nothing, self.recall)[point],
            np.append(nothing, self.f1)[point],
        )


@dataclass(frozen=True)
class SampledCurves:
    """Curves of K classes at fixed points, small enough for plots; rows of NaN for classes without objects.

    thresholds: float64 [T], ascending, 0..1.
    precision, recall, f1: float64 [K, T]. The precision is NaN above the highest score.
    recalls: float64 [101], COCO's recalls.
    precision_at_recall: float64 [K, 101], the highest precision at each of these recalls or beyond it, 0 where it is
        not reached. The mean of a row is COCO's AP at the IoU threshold.
    objects: int64 [K], number of objects without crowd regions.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    recalls: np.ndarray
    precision_at_recall: np.ndarray
    objects: np.ndarray


def class_curves(table: EvaluationTable, matching: Matching) -> list[ScoreCurve]:
    """Return the curve of each class. The first area range and the first IoU threshold of ``matching`` count."""
    correct, counts = matching.correct[0, 0], matching.counts[0, 0]
    curves = []
    for rows, objects in zip(by_class(table), objects_per_class(table, matching)[:, 0].tolist(), strict=True):
        rows = rows[counts[rows]]
        scores = table.dt_scores[rows]
        last = np.flatnonzero(np.diff(scores, append=-1.0))  # of the detections with an equal score
        true_positives = np.cumsum(correct[rows])[last]
        precision, recall, f1 = rates(true_positives, last + 1 - true_positives, objects)
        curves.append(ScoreCurve(scores[last], precision, recall, f1, objects))
    return curves


def mean_curve(curves: Sequence[ScoreCurve]) -> ScoreCurve:
    """Return the mean over the classes with objects, at every distinct score of their detections.

    A class without detections at a threshold counts with a recall and F1 of 0, and is left out of the mean precision.
    """
    curves = [curve for curve in curves if curve.objects]
    scores = -np.unique(-np.concatenate([np.zeros(0), *(curve.scores for curve in curves)]))
    sums = np.zeros((3, len(scores)))
    detected = np.zeros(len(scores), np.int64)  # number of classes with a detection
    for curve in curves:
        own = np.zeros(len(scores), np.int64)
        own[np.searchsorted(-scores, -curve.scores)] = 1
        point = np.cumsum(own)  # number of scores of this class that are kept
        sums += [np.append(0.0, values)[point] for values in (curve.precision, curve.recall, curve.f1)]
        detected += point > 0
    precision, recall, f1 = sums[0] / np.maximum(detected, 1), *sums[1:] / max(len(curves), 1)
    return ScoreCurve(scores, precision, recall, f1, sum(curve.objects for curve in curves))


def sampled_curves(table: EvaluationTable, matching: Matching, thresholds: np.ndarray = THRESHOLDS) -> SampledCurves:
    """Return the curves of all classes at ``thresholds``, float64 [T], ascending, and at COCO's 101 recalls.

    matching: its first area range and first IoU threshold count.
    """
    curves = class_curves(table, matching)
    objects = np.array([curve.objects for curve in curves], np.int64)
    precision, recall, f1 = np.stack([curve.at(thresholds) for curve in curves], axis=1)  # [K, T] each
    interpolated = precision_and_recall(table, matching, (STANDARD_LIMIT,))[0][0, :, :, 0].T  # the same for any limit
    without = objects == 0
    precision[without] = interpolated[without] = np.nan
    return SampledCurves(thresholds, precision, recall, f1, RECALLS, interpolated, objects)
