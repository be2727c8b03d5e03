"""Boxes that stay in one place on most images while others move, usually of a track whose end was not set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.data.siblings import find_clips
from detect.data.table import Table
from detect.data.validation.problems import Location, Problem
from detect.structures.class_names import ClassNames

_MIN_IMAGES = 10  # with the box
_MOST = 0.5  # fraction of the images of a split or clip that have the box; of these, fraction with other boxes
_CELL = 2.0  # pixels; boxes in the same cells of one of two grids are equal to a pixel
_FULL_IMAGE = 0.99  # fraction of both sides; such boxes are reported as full_image_box


def check_stuck_boxes(table: Table, class_names: ClassNames) -> Problem:
    """Return the boxes that are equal to a pixel on most images of the split, or of a clip, beside boxes that change.

    A fixed camera with objects that really stand still gives the same, so a person has to look.
    """
    every = np.arange(len(table))
    found: dict[tuple[int, ...], Location] = {}
    for images in (every, *(rows for rows in find_clips(list(table.names)) if len(rows) < len(every))):
        for row, on_images in _stuck(table, images):
            label, box = int(table.labels[row]), table.boxes[row]
            where = ", ".join(f"{value:g}" for value in np.round(box, 1).tolist())
            first = table.names[int(on_images[0])]
            text = f"({where}) on {len(on_images)} of {len(images)} images, such as {first}"
            key = label, *(int(value) for value in np.round(box / (2 * _CELL)).tolist())
            found.setdefault(key, Location(class_names.name(label), "", text))
    return Problem("stuck_box", list(found.values()))


def _stuck(table: Table, images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield an object of each stuck box on ``images``, int [n], and the images that have the box."""
    counts = np.diff(table.object_starts)[images]
    image_of = np.repeat(images, counts)
    rows = np.repeat(table.object_starts[images] - np.cumsum(counts) + counts, counts) + np.arange(len(image_of))
    sides = table.boxes[rows, 2:] - table.boxes[rows, :2]
    kept = ~table.iscrowd[rows] & (sides < _FULL_IMAGE * table.image_hw[image_of, ::-1]).any(axis=1)
    rows, image_of = rows[kept], image_of[kept]
    if len(rows) < _MIN_IMAGES:
        return
    is_stuck, candidates = np.zeros(len(rows), bool), []
    for offset in (0.0, _CELL / 2):
        cells = np.column_stack([np.floor((table.boxes[rows] + offset) / _CELL), table.labels[rows]])
        _, cell_of = np.unique(cells, axis=0, return_inverse=True)
        cell_of = cell_of.reshape(-1)
        pairs = np.unique(np.column_stack([cell_of, image_of]), axis=0)
        counts = np.bincount(pairs[:, 0])
        for cell in np.flatnonzero((counts >= _MIN_IMAGES) & (counts > _MOST * len(images))).tolist():
            is_stuck |= cell_of == cell
            candidates.append((int(rows[cell_of == cell][0]), pairs[pairs[:, 0] == cell, 1]))
    with_moving = np.unique(image_of[~is_stuck])
    for row, on_images in sorted(candidates, key=lambda pair: -len(pair[1])):
        if np.isin(on_images, with_moving).sum() >= _MOST * len(on_images):
            yield row, on_images
