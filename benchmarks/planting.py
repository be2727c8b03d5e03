"""Plants annotation errors in ground truth, to measure how many of them are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.label_errors import LOOSE, MISSING, SPURIOUS, WRONG_CLASS
from detect.evaluation.overlaps import box_ious

LOOSE_IOU = (0.4, 0.6)
_SAME_IOU = 0.5


class Planted(NamedTuple):
    """One planted error.

    kind: as in ``label_errors``.  image: index.  box: float64 [4], xyxy, that of the object; of a spurious one the
    planted box.  label: the right class, 1..K.  row: of the wrong annotation, -1 for a missing one.
    """

    kind: str
    image: int
    box: np.ndarray
    label: int
    row: int


def plant(
    table: EvaluationTable, kinds: Sequence[str], fraction: float, rng: np.random.Generator
) -> tuple[EvaluationTable, list[Planted]]:
    """Return a copy of ``table`` with errors of each of the ``kinds``, and these errors.

    fraction: number of errors of each kind, per annotation, 0..1. No annotation gets two errors.
    """
    objects = rng.permutation(np.flatnonzero(~table.gt_crowd))
    count = round(fraction * len(objects))
    parts = {kind: objects[i * count : (i + 1) * count] for i, kind in enumerate(kinds)}
    boxes, labels = table.gt_boxes.copy(), table.gt_label.copy()
    for row in parts.get(LOOSE, ()):
        boxes[row] = _loose(boxes[row], table.image_hw[table.gt_image[row]], rng)
    for row in parts.get(WRONG_CLASS, ()):
        labels[row] = rng.choice([one for one in range(1, table.num_classes + 1) if one != labels[row]])
    added = [_spurious(table, int(row), rng) for row in parts.get(SPURIOUS, ())]
    kept = np.setdiff1d(np.arange(len(boxes)), parts.get(MISSING, ()))
    images = np.concatenate([table.gt_image[kept], np.array([image for image, _ in added], np.int64)])
    source = np.concatenate([kept, parts.get(SPURIOUS, np.zeros(0, np.int64))])  # row whose class and flags are taken
    order = np.argsort(images, kind="stable")
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.arange(len(order))
    row_of = dict(zip(kept.tolist(), new_row.tolist(), strict=False))
    changed = np.concatenate([boxes[kept], np.reshape([box for _, box in added], (-1, 4))])[order]
    planted = [
        Planted(kind, int(table.gt_image[row]), table.gt_boxes[row], int(table.gt_label[row]), row_of.get(row, -1))
        for kind, rows in parts.items()
        if kind != SPURIOUS
        for row in rows.tolist()
    ]
    for (image, box), row, new in zip(added, parts.get(SPURIOUS, ()), new_row[len(kept) :].tolist(), strict=True):
        planted.append(Planted(SPURIOUS, image, box, int(table.gt_label[row]), new))
    result = replace(
        table,
        gt_image=images[order],
        gt_label=labels[source][order],
        gt_boxes=changed,
        gt_area=(changed[:, 2:] - changed[:, :2]).prod(axis=1),
        gt_crowd=table.gt_crowd[source][order],
        gt_row=np.arange(len(order)),
        gt_masks=None,
        dt_masks=None,
    )
    return result, planted


def _loose(box: np.ndarray, image_hw: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a box that is shifted and scaled to an IoU of 0.4 to 0.6 with ``box``."""
    low, high = LOOSE_IOU
    while True:
        size, center = box[2:] - box[:2], (box[2:] + box[:2]) / 2
        size, center = size * np.exp(rng.uniform(-0.5, 0.5, 2)), center + size * rng.uniform(-0.4, 0.4, 2)
        new = np.concatenate([center - size / 2, center + size / 2]).clip(0, np.tile(image_hw[::-1], 2))
        if low <= box_ious(box[None], new[None])[0] <= high:
            return new


def _spurious(table: EvaluationTable, row: int, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """Return an image and a box of the size of object ``row`` at a random place that is not an object of its class."""
    size = table.gt_boxes[row, 2:] - table.gt_boxes[row, :2]
    while True:
        image = int(rng.integers(table.num_images))
        height, width = table.image_hw[image]
        corner = rng.uniform(0, np.maximum([width - size[0], height - size[1]], 1e-9))
        box = np.concatenate([corner, np.minimum(corner + size, [width, height])])
        same = (table.gt_image == image) & (table.gt_label == table.gt_label[row])
        if (box_ious(np.broadcast_to(box, (same.sum(), 4)), table.gt_boxes[same]) < _SAME_IOU).all():
            return image, box
