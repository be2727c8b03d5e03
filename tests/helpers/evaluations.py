"""Evaluations of drawn records with image files, for tests of the report and the diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detect.evaluation import coco_metrics
from detect.evaluation.analysis import Analysis
from detect.evaluation.evaluate import Evaluation
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.scenes import SHAPES, drawn

COLORS = ((0, 0, 0), (220, 30, 30), (30, 160, 60), (40, 60, 220))  # of the objects of label 1, 2, 3


def with_files(records: Sequence[ImageRecord], folder: Path, name: str = "image") -> list[ImageRecord]:
    """Return the records with an image file each, which shows objects as rectangles in the color of their class."""
    written = []
    for number, record in enumerate(records):
        pixels = np.full((*record.image_hw, 3), 128, np.uint8)
        for (x0, y0, x1, y1), label in zip(record.boxes.astype(int).tolist(), record.labels.tolist(), strict=True):
            pixels[y0:y1, x0:x1] = COLORS[label % len(COLORS)]
        pixels[0, 0] = number % 256  # so that no two files are equal
        path = folder / f"{name}_{number}.png"
        Image.fromarray(pixels).save(path)
        written.append(replace(record, path=path))
    return written


def without_masks(records: Sequence[ImageRecord]) -> list[ImageRecord]:
    return [replace(record, masks=None) for record in records]


def detected(
    records: Sequence[ImageRecord], label_of: dict[int, int] | None = None, scores: Sequence[float] = (0.9, 0.6)
) -> list[Detections]:
    """Return the boxes of the records as detections, of another label if ``label_of`` says so, with falling scores."""
    found = []
    for record in records:
        labels = np.array([(label_of or {}).get(label, label) for label in record.labels.tolist()], np.int64)
        falling = np.linspace(*scores, len(record), dtype=np.float32)
        found.append(Detections(record.image_hw, record.boxes, falling, labels))
    return found


def grid(images: int = 6, labels: Sequence[int] = (1, 2, 3), side: int = 30) -> list[ImageRecord]:
    """Return records with one object of each of ``labels``, side by side."""
    boxes = [[5 + 50 * i, 10, 5 + 50 * i + side, 10 + side] for i in range(len(labels))]
    return [drawn(i, boxes, labels) for i in range(images)]


def evaluation_of(
    records: Sequence[ImageRecord], detections: list[Detections], class_names: ClassNames = SHAPES, **fields: Any
) -> Evaluation:
    """Return an Evaluation of ``detections``; fields: further ones of it, such as ``predictor``."""
    scores = coco_metrics.score(records, detections, class_names)
    return Evaluation("drawn", "val", class_names, records, detections, scores, **{"model": "drawn.json"} | fields)


def analysis_of(*arguments: Any, **fields: Any) -> Analysis:
    """Return the Analysis of ``evaluation_of``."""
    return evaluation_of(*arguments, **fields).analysis
