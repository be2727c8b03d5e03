"""Records of rectangles as ground truth, and detections of a perfect and of a mediocre model for any records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

SHAPES = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
HW = (120, 160)


def rectangle(box, hw: tuple[int, int] = HW) -> masks.Rle:
    x0, y0, x1, y1 = map(float, box)
    return masks.from_polygons([[x0, y0, x1, y0, x1, y1, x0, y1]], hw)


def drawn(image_id: int, boxes, labels, crowds=()) -> ImageRecord:
    """Return a record of rectangles; its image file does not exist. crowds: indices of boxes that are crowds."""
    boxes = np.float32(boxes).reshape(-1, 4)
    return ImageRecord(
        path=Path(f"{image_id}.png"),
        image_hw=HW,
        image_id=image_id,
        boxes=boxes,
        labels=np.array(labels, np.int64),
        areas=np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).astype(float),
        iscrowd=np.isin(np.arange(len(boxes)), crowds),
        annotation_ids=np.arange(len(boxes)),
        masks=[rectangle(box) for box in boxes],
    )


def scene() -> list[ImageRecord]:
    """Return three records: small and medium circles and squares, a crowd of circles, and an image without objects."""
    return [
        drawn(1, [[5, 5, 25, 25], [60, 20, 120, 80], [0, 90, 159, 119]], [1, 2, 1], crowds=[2]),
        drawn(2, [[10, 10, 60, 60], [30, 30, 80, 90]], [1, 1]),
        drawn(3, [], []),
    ]


def perfect(records: list[ImageRecord]) -> list[Detections]:
    """Return the ground truth without crowds as detections."""
    found = []
    for record in records:
        single = np.flatnonzero(~record.iscrowd)
        rles = [masks.from_coco(record.masks[i], record.image_hw) for i in single]
        scores = np.linspace(0.9, 0.5, len(single), dtype=np.float32)
        found.append(Detections(record.image_hw, record.boxes[single], scores, record.labels[single], rles))
    return found


def nothing(records: list[ImageRecord], with_masks: bool = True) -> list[Detections]:
    """Return empty detections for each record."""
    return [Detections(record.image_hw, masks=[] if with_masks else None) for record in records]


def noisy_scene() -> tuple[list[ImageRecord], list[Detections]]:
    """Return eight records of rectangles of all classes, and the detections of a mediocre model."""
    rng = np.random.default_rng(3)
    records, found = [], []
    for image_id in range(8):
        corner = rng.uniform(0, 60, (6, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(12, 60, (6, 2))], axis=1)
        records.append(drawn(image_id, boxes, rng.integers(1, 4, 6), crowds=[5] if image_id == 4 else []))
        boxes = (boxes + rng.normal(0, 2, boxes.shape)).clip(0, 120).astype(np.float32)
        labels = np.where(rng.random(6) < 0.8, records[-1].labels, rng.integers(1, 4, 6))
        scores = np.sort(rng.random(6).astype(np.float32))[::-1]
        found.append(Detections(HW, boxes, scores, labels, [rectangle(box) for box in boxes]))
    return records, found


def noisy(records: list[ImageRecord], classes: int) -> list[Detections]:
    """Return shifted, missing, duplicate and misclassified detections with distinct scores."""
    rng = np.random.default_rng(0)
    unused = iter(rng.permutation(20_000) / 20_000)
    found = []
    for record in records:
        kept = np.flatnonzero(rng.random(len(record)) < 0.85)
        kept = np.concatenate([kept, kept[rng.random(len(kept)) < 0.2]])
        sides = np.tile(record.boxes[kept][:, 2:] - record.boxes[kept][:, :2], 2)
        boxes = record.boxes[kept] + rng.normal(0, 0.06, sides.shape) * sides
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.where(rng.random(len(kept)) < 0.9, record.labels[kept], rng.integers(1, classes + 1, len(kept)))
        own = [masks.from_coco(record.masks[i], record.image_hw) for i in kept]
        rles = [
            rle if rng.random() < 0.6 else rectangle(box, record.image_hw) for rle, box in zip(own, boxes, strict=True)
        ]
        scores = np.sort(np.float32([next(unused) for _ in kept]))[::-1]
        found.append(Detections(record.image_hw, boxes.astype(np.float32), scores, labels.astype(np.int64), rles))
    return found


# A grid of 10 pixels gives IoUs equal to each other and to thresholds, and areas on both sides of COCO's limits.
BOX = st.builds(
    lambda x, y, w, h: [10 * x, 10 * y, 10 * (x + w), 10 * (y + h)],
    st.integers(0, 5), st.integers(0, 3), st.integers(1, 10), st.integers(1, 8),
)  # fmt: skip
OBJECT = st.tuples(BOX, st.integers(1, 3), st.booleans())  # the bool: whether it is a crowd
FOUND = st.tuples(BOX, st.integers(1, 3), st.sampled_from([0.2, 0.5, 0.5000001, 1.0]))


@st.composite
def small_sets(draw) -> tuple[list[ImageRecord], list[Detections]]:
    """Draw up to four records of ``SHAPES`` with detections, including crowds and equal scores."""
    records, results = [], []
    for i in range(draw(st.integers(1, 4))):
        boxes, labels, crowds = _columns(draw(st.lists(OBJECT, max_size=5)))
        records.append(drawn(7 * i, boxes, labels, np.flatnonzero(crowds)))
        found = draw(st.lists(FOUND, max_size=8))
        boxes, labels, scores = _columns(sorted(found, key=lambda one: -one[2]))
        rles = [rectangle(box) for box in boxes]
        boxes = np.float32(boxes).reshape(-1, 4)
        results.append(Detections(HW, boxes, np.float32(scores), np.array(labels, np.int64), rles))
    return records, results


def _columns(rows: list[tuple]) -> list[list]:
    return [[row[part] for row in rows] for part in range(3)]
