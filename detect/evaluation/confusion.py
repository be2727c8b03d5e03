"""Confusion matrix of a detector at given score thresholds.

Each object and each detection counts once. First COCO's matching assigns detections to objects of their own class, so
the diagonal has the true positives of all other metrics. Then the remaining detections and objects are paired across
classes, those with the highest IoU first. Objects that remain are missed. Detections that remain show background; they
include duplicates and detections with inaccurate boxes. Ultralytics and supervision pair by IoU alone, which can take
a detection from the object of its own class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.matching import Matching
from detect.evaluation.overlaps import Overlaps
from detect.evaluation.threshold_counts import reaches


@dataclass(frozen=True)
class Confusion:
    """Outcome of the detections that reach a threshold, and of all objects without crowd regions.

    matrix: int64 [K + 1, K + 1]. A row per class of the ground truth, and a last one of detections that show
        background; a column per detected class, and a last one of missed objects. So the first K rows sum to the
        number of objects and the first K columns to the number of detections.
    detection, ground_truth: int64 [P], rows of the detections and objects in the EvaluationTable that are paired,
        correct ones and those of another class.
    missed: int64 [M], rows of the missed objects.
    background: int64 [N], rows of the detections that show background.
    """

    matrix: np.ndarray
    detection: np.ndarray
    ground_truth: np.ndarray
    missed: np.ndarray
    background: np.ndarray


def confusion_matrix(
    table: EvaluationTable,
    overlaps: Overlaps,
    matching: Matching,
    thresholds: np.ndarray,
    iou_threshold: float = 0.5,
) -> Confusion:
    """Return the confusion matrix of the detections that score at least the threshold of their class.

    overlaps: of ``table``.
    matching: its first area range and first IoU threshold count, which is ``iou_threshold``.
    thresholds: float64 [K], 0..1; inf drops all detections of a class.
    """
    kept = reaches(table, thresholds) & matching.counts[0, 0]
    correct = np.flatnonzero(kept & matching.correct[0, 0])
    found = matching.matched[0, 0][correct].astype(np.int64)
    free_detection, free_object = kept.copy(), ~matching.gt_ignored[0]
    free_detection[correct] = free_object[found] = False
    usable = free_detection[overlaps.detection] & free_object[overlaps.ground_truth] & (overlaps.iou >= iou_threshold)
    other_class = table.dt_label[overlaps.detection] != table.gt_label[overlaps.ground_truth]
    confused, confused_with = _pair(overlaps.take(usable & other_class))
    free_detection[confused] = free_object[confused_with] = False
    detection, ground_truth = np.append(correct, confused), np.append(found, confused_with)
    missed, background = np.flatnonzero(free_object), np.flatnonzero(free_detection)
    return Confusion(
        _matrix(
            table.num_classes,
            np.concatenate([table.gt_label[ground_truth], table.gt_label[missed], np.zeros_like(background)]),
            np.concatenate([table.dt_label[detection], np.zeros_like(missed), table.dt_label[background]]),
        ),
        detection,
        ground_truth,
        missed,
        background,
    )


def _pair(pairs: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return the detections and the objects of a one-to-one choice of ``pairs``, the highest IoU first."""
    chosen: dict[int, int] = {}  # detection -> object
    taken: set[int] = set()
    pairs = pairs.take(np.argsort(-pairs.iou, kind="stable"))
    for detection, ground_truth in zip(pairs.detection.tolist(), pairs.ground_truth.tolist(), strict=True):
        if detection not in chosen and ground_truth not in taken:
            chosen[detection] = ground_truth
            taken.add(ground_truth)
    return np.array(list(chosen), np.int64), np.array(list(chosen.values()), np.int64)


def _matrix(classes: int, annotated: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """Return the counts of pairs of labels, 0 for none, int64 [classes + 1, classes + 1] with none as the last."""
    size = classes + 1
    cells = (annotated - 1) % size * size + (detected - 1) % size
    return np.bincount(cells, minlength=size * size).reshape(size, size)
