"""The error type of every detection and of every ground-truth object, after TIDE.

Source: Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
https://arxiv.org/abs/2008.08115. What each type costs in AP is computed in ``error_gains``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.detection_limit import STANDARD_LIMIT
from detect.evaluation.matching import Matching, match
from detect.evaluation.overlaps import Overlaps, find_overlaps
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

BACKGROUND_IOU = 0.1  # a detection without a higher IoU with any object is a background error


class ErrorType(IntEnum):
    """What is wrong with a detection or an object.

    NONE: a correct detection; an object that is detected.
    CLASSIFICATION: the box fits an object of another class.
    LOCALIZATION: the class is right, but the IoU is below the threshold.
    BOTH: the detection overlaps an object, but neither its class nor its box fits.
    DUPLICATE: the object is already detected with a higher score.
    BACKGROUND: there is no object.
    MISSED: an object that no detection matches, and none would match with a corrected class or a corrected box.
    IGNORED: neither correct nor an error: a detection in a crowd region or beyond the limit; a crowd region.
    """

    NONE = 0
    CLASSIFICATION = 1
    LOCALIZATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6
    IGNORED = 7


ERROR_TYPES = tuple(kind for kind in ErrorType if kind not in (ErrorType.NONE, ErrorType.IGNORED))


@dataclass(frozen=True)
class ErrorAnalysis:
    """Errors of D detections of G objects (rows of ``table``), at one IoU threshold.

    table: ground truth and detections.
    kind: "bbox" or "segm", what the IoU is computed of.
    matching: of ``table`` for one area range and one IoU threshold.
    iou_threshold: minimum IoU of a correct detection, 0..1.
    detection_error: int8 [D], an ErrorType, never MISSED.
    detection_object: int64 [D], row of the object that the detection matches, or that its error is about; -1 for
        background. For ignored detections the crowd region, or -1.
    object_error: int8 [G], an ErrorType: NONE if detected, else CLASSIFICATION, LOCALIZATION, MISSED or IGNORED.
    object_detection: int64 [G], row of the correct detection, or else of the one with the highest score among those
        whose class or box would have to be corrected, which can be an ignored one; -1 for missed objects and crowds.
    """

    table: EvaluationTable
    kind: str
    matching: Matching
    iou_threshold: float
    detection_error: np.ndarray
    detection_object: np.ndarray
    object_error: np.ndarray
    object_detection: np.ndarray

    @property
    def num_objects(self) -> int:
        """Number of objects without crowd regions."""
        return int((~self.table.gt_crowd).sum())

    def counts(self, min_score: float = 0.0) -> dict[str, int]:
        """Return the number of errors of each type: ``{"classification": .., .., "background": .., "missed": ..}``.

        Counts all missed objects, and for the other types the detections that score at least ``min_score``.
        """
        errors = self.detection_error[self.table.dt_scores >= min_score]
        numbers = {kind.name.lower(): int((errors == kind).sum()) for kind in ERROR_TYPES}
        return numbers | {"missed": int((self.object_error == ErrorType.MISSED).sum())}

    def confusions(self, min_score: float = 0.0) -> Counter[tuple[int, int]]:
        """Return how often objects of one class are detected as another: ``{(annotated label, detected label): n}``.

        Counts the classification errors that score at least ``min_score``; an object can have several.
        """
        rows = np.flatnonzero((self.detection_error == ErrorType.CLASSIFICATION) & (self.table.dt_scores >= min_score))
        annotated = self.table.gt_label[self.detection_object[rows]]
        return Counter(zip(annotated.tolist(), self.table.dt_label[rows].tolist(), strict=True))


def analyze_errors(
    table: EvaluationTable,
    overlaps: Overlaps,
    kind: str = "bbox",
    *,
    iou_threshold: float = 0.5,
    limit: int = STANDARD_LIMIT,
) -> ErrorAnalysis:
    """Find the error type of each detection and each object of ``table``.

    overlaps: of boxes or masks, as ``kind`` ("bbox" or "segm") says.
    iou_threshold: minimum IoU of a correct detection, more than 0.1 and at most 1.
    limit: number of detections per image and class that are analyzed. (tidecv counts its limit per image.)
    """
    matching = match(table, overlaps, kind, iou_thresholds=np.array([iou_threshold]), limit=limit)
    correct, matched = matching.correct[0, 0], matching.matched[0, 0].astype(np.int64)
    is_found = np.zeros(len(table.gt_image), bool)
    is_found[matched[correct]] = True

    error, concerned = _detection_errors(table, overlaps, iou_threshold, is_found)
    error[correct], concerned[correct] = ErrorType.NONE, matched[correct]
    error[~matching.considered], concerned[~matching.considered] = ErrorType.IGNORED, -1
    object_error, object_detection = _object_errors(table, error, concerned, is_found)
    # TIDE lets a detection in a crowd region explain why an object beside it is not detected, hence the order.
    ignored = matching.ignored[0, 0]
    error[ignored], concerned[ignored] = ErrorType.IGNORED, matched[ignored]
    return ErrorAnalysis(table, kind, matching, iou_threshold, error, concerned, object_error, object_detection)


def analyze_errors_above(
    threshold: float,
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    class_names: ClassNames,
    kind: str = "bbox",
    *,
    limit: int = STANDARD_LIMIT,
) -> ErrorAnalysis:
    """Find the errors of the detections that score at least ``threshold``, which are those that users see.

    Objects with only detections of lower scores are missed. ``table.dt_row`` still refers to ``detections``.
    """
    table = evaluation_table(records, [one.filter(threshold) for one in detections], class_names)
    return analyze_errors(table, find_overlaps(table, kind), kind, limit=limit)


def _detection_errors(
    table: EvaluationTable, overlaps: Overlaps, iou_threshold: float, is_found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error type of each detection, as if none were correct, and the row of the object concerned or -1."""
    pairs = overlaps.take(~table.gt_crowd[overlaps.ground_truth])
    pairs = pairs.take(np.argsort(pairs.iou, kind="stable"))
    same_class = table.dt_label[pairs.detection] == table.gt_label[pairs.ground_truth]
    same, same_iou = _best_object(table, pairs.take(same_class))
    other, other_iou = _best_object(table, pairs.take(~same_class))
    found, found_iou = _best_object(table, pairs.take(same_class & is_found[pairs.ground_truth]))
    nearest = np.where(same_iou >= other_iou, same, other)
    rules = (  # the first that applies counts, in the order of tidecv, which differs from that of the paper
        (ErrorType.LOCALIZATION, (same_iou >= BACKGROUND_IOU) & (same_iou <= iou_threshold), same),
        (ErrorType.CLASSIFICATION, other_iou >= iou_threshold, other),
        (ErrorType.DUPLICATE, found_iou >= iou_threshold, found),
        (ErrorType.BACKGROUND, np.maximum(same_iou, other_iou) <= BACKGROUND_IOU, np.full_like(same, -1)),
    )
    applies = [condition for _, condition, _ in rules]
    error = np.select(applies, [np.int8(kind) for kind, _, _ in rules], np.int8(ErrorType.BOTH))
    return error, np.select(applies, [objects for _, _, objects in rules], nearest)


def _best_object(table: EvaluationTable, pairs: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return for each detection the object with the highest IoU, int64 [D], and that IoU; -1 and 0.0 without a pair.

    pairs: by ascending IoU, so that the highest IoU of a detection is the last one to be assigned.
    """
    objects = np.full(len(table.dt_image), -1, np.int64)
    iou = np.zeros(len(table.dt_image))
    objects[pairs.detection] = pairs.ground_truth
    iou[pairs.detection] = pairs.iou
    return objects, iou


def _object_errors(
    table: EvaluationTable, error: np.ndarray, concerned: np.ndarray, is_found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the error type of each object, and the row of the detection concerned or -1."""
    explains = np.flatnonzero(np.isin(error, (ErrorType.NONE, ErrorType.CLASSIFICATION, ErrorType.LOCALIZATION)))
    explains = explains[(error[explains] == ErrorType.NONE) | ~is_found[concerned[explains]]]
    explains = explains[::-1]  # by ascending score within an image, so that the highest score is assigned last
    detection = np.full(len(table.gt_image), -1, np.int64)
    detection[concerned[explains]] = explains
    object_error = np.full(len(table.gt_image), ErrorType.MISSED, np.int8)
    object_error[concerned[explains]] = error[explains]
    object_error[table.gt_crowd] = ErrorType.IGNORED
    return object_error, detection
