"""Detections with planted errors: the ground truth of any records, changed in known ways, the same for a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from detect.structures import masks
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.scenes import drawn

MAX_DETECTIONS = 100  # per image; tidecv counts its limit per image, COCO per image and class

Planted = tuple[np.ndarray, int, masks.Rle]  # box, label, mask


class _Draws:
    """Random errors of the objects of one image."""

    def __init__(self, rng: np.random.Generator, record: ImageRecord, num_classes: int) -> None:
        self.rng, self.record, self.num_classes = rng, record, num_classes

    def object(self, i: int) -> Planted:
        mask = masks.from_coco(self.record.masks[i], self.record.image_hw)
        return self.record.boxes[i], int(self.record.labels[i]), mask

    def shifted(self, i: int) -> list[Planted]:
        box, label, mask = self.object(i)
        side = box[2:] - box[:2]
        dx, dy = (self.rng.uniform(0.1, 0.5, 2) * side * self.rng.choice([-1, 1], 2)).round().astype(int).tolist()
        return [(box + np.float32([dx, dy, dx, dy]), label, _moved(mask, dx, dy))]

    def wrong_class(self, i: int) -> list[Planted]:
        box, _, mask = self.object(i)
        return [(box, int(self.rng.integers(1, self.num_classes + 1)), mask)]

    def both(self, i: int) -> list[Planted]:
        ((box, _, mask),) = self.shifted(i)
        return [(box, int(self.rng.integers(1, self.num_classes + 1)), mask)]

    def duplicate(self, i: int) -> list[Planted]:
        return [self.object(i), self.object(i), *self.shifted(i)][: int(self.rng.integers(2, 4))]

    def missed(self, i: int) -> list[Planted]:
        return []

    def background(self, i: int) -> list[Planted]:
        return [self.object(i), self.box_in(np.float32([0, 0, *self.record.image_hw[::-1]]))]

    def box_in(self, region: np.ndarray) -> Planted:
        """Return a random box in ``region`` (xyxy), of a random class."""
        corner = region[:2] + self.rng.uniform(0, 0.6, 2) * (region[2:] - region[:2])
        far = corner + self.rng.uniform(0.1, 1, 2) * (region[2:] - corner)
        box = np.float32([*corner, *far])
        return box, int(self.rng.integers(1, self.num_classes + 1)), _filled(box, self.record.image_hw)

    def in_crowds(self) -> Iterator[Planted]:
        """Yield boxes in the crowd regions, most of them of the region's class."""
        for i in np.flatnonzero(self.record.iscrowd):
            for _ in range(8):
                box, label, mask = self.box_in(self.record.boxes[i])
                yield box, int(self.record.labels[i]) if self.rng.random() < 0.8 else label, mask


ERRORS: dict[str, Callable[[_Draws, int], list[Planted]]] = {
    "shifted": _Draws.shifted,
    "wrong class": _Draws.wrong_class,
    "both": _Draws.both,
    "duplicate": _Draws.duplicate,
    "background": _Draws.background,
    "missed": _Draws.missed,
}
"""Errors that can be planted: a function of an image and an object, which returns what is detected in its place."""


def planted(
    records: Sequence[ImageRecord], num_classes: int, errors: Sequence[str] = tuple(ERRORS), *, seed: int = 0
) -> list[Detections]:
    """Return the ground truth with errors of the given kinds at about half of the objects, and boxes in crowds.

    Scores are distinct, and lower for errors on average.
    """
    rng = np.random.default_rng(seed)
    unused = iter(rng.permutation(2**16).tolist())
    found = []
    for record in records:
        draws = _Draws(rng, record, num_classes)
        parts: list[tuple[Planted, float]] = []
        for i in np.flatnonzero(~record.iscrowd).tolist():
            if errors and rng.random() < 0.5:
                wrong = ERRORS[errors[int(rng.integers(len(errors)))]](draws, i)
                parts += [(one, (next(unused) + 0.5) / 2**17 + 0.25) for one in wrong]
            else:
                parts.append((draws.object(i), next(unused) / 2**17 + 0.5))
        if errors:
            parts += [(one, (next(unused) + 0.5) / 2**17 + 0.25) for one in draws.in_crowds()]
        found.append(_detections(record, parts))
    return found


def at_random(records: Sequence[ImageRecord], num_classes: int, *, seed: int = 0) -> list[Detections]:
    """Return 100 detections at random places of each image, with random labels and scores."""
    rng = np.random.default_rng(seed)
    unused = iter((rng.permutation(2**16) / 2**16).tolist())
    found = []
    for record in records:
        draws, whole = _Draws(rng, record, num_classes), np.float32([0, 0, *record.image_hw[::-1]])
        found.append(_detections(record, [(draws.box_in(whole), next(unused)) for _ in range(MAX_DETECTIONS)]))
    return found


def drawn_records(count: int = 12, *, seed: int = 0) -> list[ImageRecord]:
    """Return records of overlapping rectangles of three classes; every third has a crowd region."""
    rng = np.random.default_rng(seed)
    records = []
    for image_id in range(1, count + 1):
        corner = rng.uniform(0, 60, (7, 2)) * np.float32([1.5, 1])
        boxes = np.concatenate([corner, corner + rng.uniform(12, 55, (7, 2))], axis=1).round(1)
        records.append(drawn(image_id, boxes, rng.integers(1, 4, 7), crowds=[6] if image_id % 3 == 0 else []))
    return records


def _detections(record: ImageRecord, parts: list[tuple[Planted, float]]) -> Detections:
    kept = sorted(parts, key=lambda part: -part[1])[:MAX_DETECTIONS]
    return Detections(
        record.image_hw,
        np.float32([box for (box, _, _), _ in kept]).reshape(-1, 4),
        np.float32([score for _, score in kept]),
        np.array([label for (_, label, _), _ in kept], np.int64),
        [mask for (_, _, mask), _ in kept],
    )


def _moved(mask: masks.Rle, dx: int, dy: int) -> masks.Rle:
    bitmap = masks.to_bitmap(mask)
    height, width = bitmap.shape
    moved = np.zeros_like(bitmap)
    moved[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)] = bitmap[
        max(-dy, 0) : height + min(-dy, 0), max(-dx, 0) : width + min(-dx, 0)
    ]
    return masks.from_bitmap(moved)


def _filled(box: np.ndarray, image_hw: tuple[int, int]) -> masks.Rle:
    x0, y0, x1, y1 = box.round().astype(int).tolist()
    x0, y0 = min(x0, image_hw[1] - 1), min(y0, image_hw[0] - 1)
    return masks.from_crop(np.ones((max(y1 - y0, 1), max(x1 - x0, 1)), bool), (x0, y0), image_hw)
