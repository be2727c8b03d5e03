"""Scenes of kites and birds, and a model that detects nearly all of them, for tests of suspected annotation errors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from detect.evaluation.columns import evaluation_table
from detect.evaluation.label_errors import Suspect, find_suspects
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.scenes import HW, drawn

CLASSES = ClassNames(("kite", "bird", "plane"))
_CORNERS = ((8, 8), (60, 10), (10, 70))
_FREE = ((60, 70), (110, 10), (115, 75))  # upper left corners of boxes that overlap no object


def kite_and_bird_scenes(images: int = 30) -> list[ImageRecord]:
    """Return records with two kites and a bird each, about 32 pixels wide and high."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(images):
        corners = np.array(_CORNERS) + rng.uniform(-4, 4, (3, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(28, 36, (3, 2))], axis=1)
        records.append(drawn(i, boxes, [1, 2, 1]))
    return records


def agreeing_model(
    records: Sequence[ImageRecord], *, false_positives: int = 0, at: float = 0.5, missed: Collection[int] = ()
) -> list[Detections]:
    """Return detections with the class of every object, boxes that differ by about a pixel, and scores about 0.9.

    false_positives: per image, at most three, where nothing is.  at: their score.
    missed: numbers of the objects that are not detected, counted over all records.
    """
    rng, found, number = np.random.default_rng(1), [], 0
    for record in records:
        kept = [i for i in range(len(record)) if number + i not in missed]
        number += len(record)
        free = np.float32([(x, y, x + 30, y + 30) for x, y in _FREE[:false_positives]]).reshape(-1, 4)
        boxes = np.concatenate([record.boxes[kept] + rng.normal(0, 1, (len(kept), 4)), free]).astype(np.float32)
        means = np.array([0.9] * len(kept) + [at] * len(free))
        scores = (means + rng.uniform(-0.05, 0.05, len(means))).astype(np.float32)
        order = np.argsort(-scores, kind="stable")
        labels = np.concatenate([record.labels[kept], rng.integers(1, 3, len(free))])
        found.append(Detections(HW, boxes[order], scores[order], labels[order]))
    return found


def suspects_of(records: Sequence[ImageRecord], detections: Sequence[Detections]) -> list[Suspect]:
    return find_suspects(evaluation_table(records, detections, CLASSES))


def first(suspects: Sequence[Suspect], kind: str) -> Suspect:
    return next(one for one in suspects if one.kind == kind)
