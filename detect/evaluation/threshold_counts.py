"""Counts of true positives, false positives and objects if detections below a score threshold are dropped.

Dropping detections changes no match of those that remain, since COCO's matching goes from the highest score to the
lowest. So one matching holds for every threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.matching import Matching


@dataclass(frozen=True)
class Counts:
    """Counts of I images and K classes at one threshold per class, int64 [I, K] each.

    true_positives: correct detections.
    false_positives: the other detections, without those in crowd regions.
    objects: ground-truth objects without crowd regions.
    """

    true_positives: np.ndarray
    false_positives: np.ndarray
    objects: np.ndarray

    def rates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return precision, recall and F1 of each class in all images, float64 [K] each; see ``rates``."""
        return rates(self.true_positives.sum(axis=0), self.false_positives.sum(axis=0), self.objects.sum(axis=0))


@dataclass(frozen=True)
class FalsePositivesWithoutObjects:
    """Detections in images without any annotation, each of which is a false positive.

    images: number of such images, at least 1.
    affected: number of them with a detection.
    false_positives: number of detections in them.
    """

    images: int
    affected: int
    false_positives: int

    @property
    def per_image(self) -> float:
        return self.false_positives / self.images


def counts_at(table: EvaluationTable, matching: Matching, thresholds: np.ndarray) -> Counts:
    """Count the detections that score at least the threshold of their class.

    matching: its first area range and first IoU threshold count.
    thresholds: float64 [K], 0..1; inf drops all detections of a class.
    """
    kept = reaches(table, thresholds)
    correct, counted = matching.correct[0, 0], matching.counts[0, 0]
    return Counts(
        _per_image_and_class(table, table.dt_image, table.dt_label, kept & correct),
        _per_image_and_class(table, table.dt_image, table.dt_label, kept & counted & ~correct),
        _per_image_and_class(table, table.gt_image, table.gt_label, ~matching.gt_ignored[0]),
    )


def false_positives_without_objects(
    table: EvaluationTable, matching: Matching, thresholds: np.ndarray
) -> FalsePositivesWithoutObjects | None:
    """Return the detections in images without any annotation; None if there is no such image.

    The arguments are those of ``counts_at``. An image with nothing but a crowd region has an annotation.
    """
    empty = np.bincount(table.gt_image, minlength=table.num_images) == 0
    if not empty.any():
        return None
    found = counts_at(table, matching, thresholds).false_positives[empty].sum(axis=1)
    return FalsePositivesWithoutObjects(int(empty.sum()), int((found > 0).sum()), int(found.sum()))


def reaches(table: EvaluationTable, thresholds: np.ndarray) -> np.ndarray:
    """Return whether each detection scores at least the threshold of its class, bool [D].

    thresholds: float64 [K]. They are compared in float32, as a Predictor does.
    """
    return table.dt_scores >= thresholds.astype(np.float32)[table.dt_label - 1]


def rates(
    true_positives: np.ndarray, false_positives: np.ndarray, objects: np.ndarray | int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1, float64, 0..1, of counts of equal shape.

    The precision is NaN without detections, recall and F1 are NaN without objects. F1 is the harmonic mean of the
    two: 2 TP / (2 TP + FP + FN).
    """
    detections, total = true_positives + false_positives, np.broadcast_to(objects, true_positives.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = true_positives / detections, np.where(total > 0, true_positives / total, np.nan)
        f1 = np.where(total > 0, 2 * true_positives / (detections + total), np.nan)
    return precision, recall, f1


def _per_image_and_class(
    table: EvaluationTable, images: np.ndarray, labels: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    cells = images[kept] * table.num_classes + labels[kept] - 1
    counts = np.bincount(cells, minlength=table.num_images * table.num_classes)
    return counts.reshape(table.num_images, table.num_classes)
