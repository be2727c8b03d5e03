"""Checks of boxes, masks and areas as annotated, vectorized over columns: a million objects take seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from detect.data.columns import RLE
from detect.data.table import Table
from detect.structures import masks

_TOLERANCE_PX = 1.0  # beyond the image: rounding, or formats that count pixels from 1
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Finding(NamedTuple):
    """Rows of a table that have one kind of problem.

    kind: a key of ``detect.data.validation.problems.KINDS``.
    rows: int64 [n], indices of images or objects.
    values: the value found in each row, [n] or [n, ...].
    """

    kind: str
    rows: np.ndarray
    values: np.ndarray

    @classmethod
    def of_pairs(cls, kind: str, pairs: Sequence[tuple[int, str]]) -> Finding:
        """Return the finding of pairs (row, text)."""
        return cls(kind, np.array([row for row, _ in pairs], np.int64), np.array([text for _, text in pairs], object))


def check_objects(table: Table) -> Iterator[Finding]:
    """Find invalid boxes, masks and areas. The sizes of all images must be known."""
    yield from check_boxes(table)
    yield from check_masks(table)
    wrong = ~np.isnan(table.areas) & ~((table.areas > 0) & (table.areas <= _MAX_FLOAT32))
    yield Finding("invalid_area", np.flatnonzero(wrong), table.areas[wrong])


def check_boxes(table: Table) -> Iterator[Finding]:
    """Find non-finite, empty, outside, inverted and exceeding boxes. A box has at most one of these problems."""
    boxes, wh = table.boxes, table.image_hw[table.images][:, ::-1].astype(np.float64)
    unchecked = ~np.isnan(boxes[:, 0])  # objects with a box and without a problem so far

    def finding(kind: str, wrong: Any) -> Finding:
        rows = unchecked & wrong
        unchecked[rows] = False
        return Finding(kind, np.flatnonzero(rows), boxes[rows])

    with np.errstate(invalid="ignore", over="ignore"):
        yield finding("non_finite_box", ~(np.abs(boxes) <= _MAX_FLOAT32).all(axis=1))
        low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
        yield finding("zero_area_box", (low.astype(np.float32) >= high.astype(np.float32)).any(axis=1))
        yield finding("box_outside_image", ((high <= 0) | (low >= wh)).any(axis=1))
        yield finding("inverted_box", (boxes[:, :2] > boxes[:, 2:]).any(axis=1))
        yield finding("box_exceeds_image", (np.maximum(-low, high - wh) > _TOLERANCE_PX).any(axis=1))


def check_masks(table: Table) -> Iterator[Finding]:
    """Find polygons with too few points, invalid polygons, RLE masks of another size, and invalid RLE masks.

    An object is reported even if only one of its polygons has the problem.
    """
    kinds, hw = table.masks.kinds[table.mask_rows], table.image_hw[table.images]
    owner, counts, extent = polygons_of(table)
    few = counts < 6
    invalid = (counts >= 6) & ((counts % 2 == 1) | ~(extent <= masks.MAX_POLYGON_REACH * hw[owner].max(axis=1)))
    for kind, wrong, values in (("too_few_points", few, counts // 2), ("invalid_mask", invalid, extent)):
        rows, first = np.unique(owner[wrong], return_index=True)
        yield Finding(kind, rows, values[wrong][first])

    rle_rows = np.flatnonzero(kinds == RLE)
    rle_hw = table.masks.rle_hw[table.mask_rows[rle_rows]]
    differ = (rle_hw != hw[rle_rows]).any(axis=1)
    yield Finding("rle_size_mismatch", rle_rows[differ], rle_hw[differ])
    broken = [(row, problem) for row in rle_rows[~differ].tolist() if (problem := _rle_problem(table, row))]
    yield Finding.of_pairs("invalid_mask", broken)


def polygons_of(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of the P polygons of the table's objects:

    its object, int64 [P]; its number of coordinates, int64 [P]; its largest absolute coordinate, float64 [P] (NaN if a
    coordinate is NaN).
    """
    column = table.masks
    row_of = np.full(len(column), -1)
    row_of[table.mask_rows] = np.arange(len(table.mask_rows))
    owner = row_of[np.repeat(np.arange(len(column)), np.diff(column.polygon_ends, prepend=0))]
    counts = np.diff(column.point_ends, prepend=0)
    extent = np.zeros(len(counts))
    filled = counts > 0
    if filled.any():
        first = (column.point_ends - counts)[filled]
        highest, lowest = (pick.reduceat(column.points, first) for pick in (np.maximum, np.minimum))
        extent[filled] = np.maximum(highest, -lowest)
    kept = owner >= 0
    return owner[kept], counts[kept], extent[kept]


def valid_polygons(table: Table, row: int) -> list[np.ndarray]:
    """Return the valid polygons of object ``row``; an empty list if its mask is an RLE."""
    mask = table.mask(row)
    if not isinstance(mask, list):
        return []
    height, width = table.image_hw[table.image_of_object(row)].tolist()
    return [np.asarray(polygon) for polygon in mask if masks.is_valid_polygon(polygon, (height, width))]


def _rle_problem(table: Table, row: int) -> str:
    """Return why the RLE mask of object ``row``, which has the right size, is invalid; "" if it is valid."""
    try:
        masks.check(table.masks[int(table.mask_rows[row])], tuple(table.image_hw[table.image_of_object(row)].tolist()))
        return ""
    except ValueError as problem:
        return str(problem)
