"""The error analysis of a few boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detect.evaluation.columns import evaluation_table
from detect.evaluation.error_analysis import ErrorAnalysis, analyze_errors
from detect.evaluation.overlaps import find_overlaps
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.scenes import HW, SHAPES, rectangle

BOX = [10, 10, 30, 30]
BESIDE = [20, 10, 40, 30]  # IoU with BOX 1/3
FAR = [60, 60, 90, 90]


def found(*parts: tuple[list[float], int, float]) -> Detections:
    """Return detections of rectangles: box, label and score of each."""
    boxes = np.array([box for box, _, _ in parts], np.float32).reshape(-1, 4)
    scores = np.array([score for _, _, score in parts], np.float32)
    labels = np.array([label for _, label, _ in parts], np.int64)
    return Detections(HW, boxes, scores, labels, [rectangle(box) for box in boxes])


def analyze(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    kind: str = "bbox",
    class_names: ClassNames = SHAPES,
    **settings,
) -> ErrorAnalysis:
    """Return ``analyze_errors`` of records and detections."""
    table = evaluation_table(records, detections, class_names)
    return analyze_errors(table, find_overlaps(table, kind), kind, **settings)
