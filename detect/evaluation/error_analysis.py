"""Classifies each ground-truth object as detected, of the wrong class, poorly localized or missed, and counts false
positives.

The error types are those of TIDE (Bolya et al., ECCV 2020, https://arxiv.org/abs/2008.08115), assigned to ground-truth
objects instead of detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

DETECTED, WRONG_CLASS, POORLY_LOCALIZED, MISSED = range(4)
_MATCH_IOU = 0.5  # minimum IoU of a detection that matches an object
_NEAR_IOU = 0.1  # minimum IoU of a detection that belongs to an object but is poorly localized


@dataclass(frozen=True)
class ErrorAnalysis:
    """The outcome of each of n ground-truth objects (crowd regions excluded), and false positives per image.

    outcomes: int64 [n], DETECTED, WRONG_CLASS, POORLY_LOCALIZED or MISSED.
    images: int64 [n], index of the object's record.
    rows: int64 [n], index of the object in its record.
    predicted_as: int64 [n], label predicted for a WRONG_CLASS object, else 0.
    false_positives: int64 [images], number of detections that are near no object and not inside a crowd region.
    """

    outcomes: np.ndarray
    images: np.ndarray
    rows: np.ndarray
    predicted_as: np.ndarray
    false_positives: np.ndarray

    def count(self, outcome: int) -> int:
        """Return the number of objects with this outcome."""
        return int((self.outcomes == outcome).sum())


def analyze_errors(
    records: Sequence[ImageRecord], detections: Sequence[Detections], threshold: float = 0.5
) -> ErrorAnalysis:
    """Classify the objects of ``records`` by the detections in each that score at least ``threshold``.

    As in COCO's matching at IoU 0.5, a detection matches at most one object, in descending order of score. A matched
    detection is not considered for other objects.
    """
    rows: list[tuple[int, int, int, int]] = []
    false_positives = np.zeros(len(records), np.int64)
    for index, (record, every) in enumerate(zip(records, detections, strict=True)):
        kept = every.filter(threshold)
        ious = _ious(record, kept)
        false_positives[index] = int((ious < _NEAR_IOU).all(axis=0).sum())
        same_class = record.labels[:, None] == kept.labels
        matched = _match(np.where(same_class & ~record.iscrowd[:, None], ious, 0.0))
        ious[:, list(matched.values())] = 0.0
        for row in np.flatnonzero(~record.iscrowd).tolist():
            rows.append((index, row, *_outcome(row in matched, ious[row], same_class[row], kept.labels)))
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return ErrorAnalysis(columns[2], columns[0], columns[1], columns[3], false_positives)


def _outcome(is_matched: bool, ious: np.ndarray, same_class: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """Return the outcome of one object, and the label predicted for it if that is wrong, else 0."""
    if is_matched:
        return DETECTED, 0
    if (others := np.where(same_class, 0.0, ious)).max(initial=0.0) >= _MATCH_IOU:
        return WRONG_CLASS, int(labels[others.argmax()])
    is_near = np.where(same_class, ious, 0.0).max(initial=0.0) >= _NEAR_IOU
    return (POORLY_LOCALIZED if is_near else MISSED), 0


def _ious(record: ImageRecord, detections: Detections) -> np.ndarray:
    """Return the IoU of every object with every detection, float64 [objects, detections]; for crowd regions the
    fraction of the detection inside, as COCO defines it."""
    if not len(record.boxes) or not len(detections.boxes):
        return np.zeros((len(record.boxes), len(detections.boxes)))
    ground_truth_xywh, detected_xywh = (
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
        for boxes in (record.boxes, detections.boxes)
    )
    return np.array(coco_mask.iou(detected_xywh, ground_truth_xywh, record.iscrowd.astype(np.uint8))).T


def _match(ious: np.ndarray) -> dict[int, int]:
    """Return the matched objects and the detection of each. ious: [objects, detections], by descending score."""
    matched: dict[int, int] = {}
    for detection, column in enumerate(ious.T):
        for row in np.argsort(-column, kind="stable").tolist():
            if column[row] < _MATCH_IOU:
                break
            if row not in matched:
                matched[row] = detection
                break
    return matched
