"""COCO's matching of boxes as plain loops, a reference for what is computed from columns."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.matching import Matching, match
from detect.evaluation.overlaps import Overlaps, find_overlaps
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.scenes import SHAPES

NOT_COUNTED = -2  # in a crowd region


def matched_at_half(
    records: list[ImageRecord], found: list[Detections], class_names: ClassNames = SHAPES
) -> tuple[EvaluationTable, Overlaps, Matching]:
    """Return columns, overlaps of boxes, and their matching at an IoU of 0.5."""
    table = evaluation_table(records, found, class_names)
    overlaps = find_overlaps(table, "bbox")
    return table, overlaps, match(table, overlaps, iou_thresholds=np.array([0.5]))


def counts_by_loops(
    records: list[ImageRecord], found: list[Detections], label: int, threshold: float
) -> tuple[int, int, int]:
    """Return true positives, false positives and objects of a class if detections below ``threshold`` are dropped
    before anything is matched."""
    matches = [
        matches_in_image(record, one[one.scores >= np.float32(threshold)], label)
        for record, one in zip(records, found, strict=True)
    ]
    flat = np.concatenate([np.zeros(0, int), *matches])
    objects = sum(int((~record.iscrowd[record.labels == label]).sum()) for record in records)
    return int((flat >= 0).sum()), int((flat == -1).sum()), objects


def matches_in_image(record: ImageRecord, found: Detections, label: int) -> np.ndarray:
    """Return for each detection of a class the index of its object in the record, -1 for a false positive, or
    NOT_COUNTED."""
    own = np.flatnonzero(record.labels == label)
    own = [*own[~record.iscrowd[own]].tolist(), *own[record.iscrowd[own]].tolist()]
    boxes = found.boxes[found.labels == label]
    iou = np.asarray(coco_mask.iou(_xywh(boxes), _xywh(record.boxes), record.iscrowd.astype(np.uint8)))
    taken: set[int] = set()
    result = []
    for d in range(len(boxes)):
        best, best_iou = -1, 0.5
        for g in own:
            if g in taken or (best >= 0 and record.iscrowd[g] and not record.iscrowd[best]):
                continue
            if iou[d, g] >= best_iou:
                best, best_iou = g, iou[d, g]
        if best >= 0 and not record.iscrowd[best]:
            taken.add(best)
        result.append(NOT_COUNTED if best >= 0 and record.iscrowd[best] else best)
    return np.array(result, int)


def _xywh(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
