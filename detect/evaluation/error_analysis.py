"""What becomes of each object: found, taken for another class, badly placed or missed; and what was found beside them.

The kinds are those of TIDE (Bolya et al., ECCV 2020, https://arxiv.org/abs/2008.08115), told of the objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

FOUND, WRONG_CLASS, BADLY_PLACED, MISSED = range(4)
_PLACED = 0.5  # IoU of a box that counts as found
_NEAR = 0.1  # IoU of one that is near


@dataclass(frozen=True)
class Mistakes:
    """outcomes: int64 [n], for each object that is no crowd one of FOUND, WRONG_CLASS, BADLY_PLACED, MISSED.

    images: int64 [n], its record's number.  rows: int64 [n], its number in the record.
    taken_for: int64 [n], the label that a WRONG_CLASS object got, else 0.
    false_alarms: for each image the number of detections that are near no object, nor lie in a crowd.
    """

    outcomes: np.ndarray
    images: np.ndarray
    rows: np.ndarray
    taken_for: np.ndarray
    false_alarms: np.ndarray

    def count(self, outcome: int) -> int:
        """How many objects it became so."""
        return int((self.outcomes == outcome).sum())


def mistakes(records: Sequence[ImageRecord], found: Sequence[Detections], threshold: float = 0.5) -> Mistakes:
    """Of the detections in ``found``, one for each record, that score at least ``threshold``.

    Each detection finds one object at most, the best ones first, as in COCO's matching at IoU 0.5, and what has found
    one tells nothing of another.
    """
    rows: list[tuple[int, int, int, int]] = []
    false_alarms = np.zeros(len(records), np.int64)
    for number, (record, all_found) in enumerate(zip(records, found, strict=True)):
        shown = all_found.filter(threshold)
        ious = _overlaps(record, shown)
        false_alarms[number] = int((ious < _NEAR).all(axis=0).sum())
        same = record.labels[:, None] == shown.labels
        matched = _matched(np.where(same & ~record.iscrowd[:, None], ious, 0.0))
        ious[:, list(matched.values())] = 0.0
        for row in np.flatnonzero(~record.iscrowd).tolist():
            rows.append((number, row, *_outcome(row in matched, ious[row], same[row], shown.labels)))
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Mistakes(columns[2], columns[0], columns[1], columns[3], false_alarms)


def _outcome(is_found: bool, ious: np.ndarray, same: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """What became of an object, and the label it was taken for."""
    if is_found:
        return FOUND, 0
    if (others := np.where(same, 0.0, ious)).max(initial=0.0) >= _PLACED:
        return WRONG_CLASS, int(labels[others.argmax()])
    return (BADLY_PLACED if np.where(same, ious, 0.0).max(initial=0.0) >= _NEAR else MISSED), 0


def _overlaps(record: ImageRecord, shown: Detections) -> np.ndarray:
    """The IoU of every object with every detection, [objects, shown]; of crowds the share of the detection that lies
    inside, as COCO counts it."""
    if not len(record.boxes) or not len(shown.boxes):
        return np.zeros((len(record.boxes), len(shown.boxes)))
    ground_truth, seen = (
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
        for boxes in (record.boxes, shown.boxes)
    )
    return np.array(coco_mask.iou(seen, ground_truth, record.iscrowd.astype(np.uint8))).T


def _matched(ious: np.ndarray) -> dict[int, int]:
    """The objects that a detection finds, each with that detection; ``ious`` [objects, detections], best first."""
    matched: dict[int, int] = {}
    for number, column in enumerate(ious.T):
        for row in np.argsort(-column, kind="stable").tolist():
            if column[row] < _PLACED:
                break
            if row not in matched:
                matched[row] = number
                break
    return matched
