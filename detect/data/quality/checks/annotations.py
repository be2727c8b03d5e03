"""What can be wrong with boxes, masks, areas and ids: checks over whole columns, a million objects in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from detect.data.columns import RLE
from detect.data.table import Table
from detect.structures import masks

_OUT_PX = 1.0  # a box may reach out by a rounding, or by the pixel that formats count from differently
_LARGEST = float(np.finfo(np.float32).max)


class Found(NamedTuple):
    """The rows of one kind, integers [n], and what stands there, [n] or [n, ...]."""

    kind: str
    rows: np.ndarray
    values: np.ndarray


def check_objects(table: Table) -> Iterator[Found]:
    """Every kind that a row can be of by itself. The sizes of all images have to be known."""
    yield from check_boxes(table)
    yield from check_masks(table)
    wrong = ~np.isnan(table.areas) & ~((table.areas > 0) & (table.areas <= _LARGEST))
    yield Found("wrong_area", np.flatnonzero(wrong), table.areas[wrong])


def check_boxes(table: Table) -> Iterator[Found]:
    """not_finite, no_area, outside, swapped_corners and reaches_out, at most one a row."""
    boxes, wh = table.boxes, table.image_hw[table.images][:, ::-1].astype(np.float64)
    left = ~np.isnan(boxes[:, 0])  # where there is a box, and nothing wrong found yet

    def found(kind: str, wrong: Any) -> Found:
        rows = left & wrong
        left[rows] = False
        return Found(kind, np.flatnonzero(rows), boxes[rows])

    with np.errstate(invalid="ignore", over="ignore"):
        yield found("not_finite", ~(np.abs(boxes) <= _LARGEST).all(axis=1))
        low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
        yield found("no_area", (low.astype(np.float32) >= high.astype(np.float32)).any(axis=1))
        yield found("outside", ((high <= 0) | (low >= wh)).any(axis=1))
        yield found("swapped_corners", (boxes[:, :2] > boxes[:, 2:]).any(axis=1))
        yield found("reaches_out", (np.maximum(-low, high - wh) > _OUT_PX).any(axis=1))


def check_masks(table: Table) -> Iterator[Found]:
    """few_points, bad_mask (each also where it is one polygon of several), rle_size."""
    kinds, hw = table.masks.kinds[table.mask_rows], table.image_hw[table.images]
    owner, counts, reach = polygons_of(table)
    few, bad = counts < 6, (counts >= 6) & ((counts % 2 == 1) | ~(reach <= masks.FARTHEST * hw[owner].max(axis=1)))
    for kind, wrong, values in (("few_points", few, counts // 2), ("bad_mask", bad, reach)):
        rows, where = np.unique(owner[wrong], return_index=True)
        yield Found(kind, rows, values[wrong][where])

    coded = np.flatnonzero(kinds == RLE)
    code_hw = table.masks.rle_hw[table.mask_rows[coded]]
    other = (code_hw != hw[coded]).any(axis=1)
    yield Found("rle_size", coded[other], code_hw[other])
    broken = [(row, problem) for row in coded[~other].tolist() if (problem := _problem(table, row))]
    yield Found("bad_mask", np.array([row for row, _ in broken], np.int64), np.array([p for _, p in broken], object))


def polygons_of(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the polygons of the table's objects: int64 [P] the object, int64 [P] how many numbers, float64 [P] the
    largest of these without its sign (NaN counts)."""
    store = table.masks
    row_of = np.full(len(store), -1)
    row_of[table.mask_rows] = np.arange(len(table.mask_rows))
    owner = row_of[np.repeat(np.arange(len(store)), np.diff(store.polygon_ends, prepend=0))]
    counts = np.diff(store.point_ends, prepend=0)
    reach = np.zeros(len(counts))
    filled = counts > 0
    if filled.any():
        first = (store.point_ends - counts)[filled]
        highest, lowest = (pick.reduceat(store.points, first) for pick in (np.maximum, np.minimum))
        reach[filled] = np.maximum(highest, -lowest)
    kept = owner >= 0
    return owner[kept], counts[kept], reach[kept]


def good_polygons(table: Table, row: int) -> list[np.ndarray]:
    """The polygons of an object that can be drawn; none where its mask is a run-length code."""
    mask = table.masks[int(table.mask_rows[row])]
    if isinstance(mask, dict):
        return []
    height, width = table.image_hw[table.image_of_object(row)].tolist()
    return [np.asarray(polygon) for polygon in mask if masks.is_drawable(polygon, (height, width))]


def _problem(table: Table, row: int) -> str:
    """What is wrong with the run-length code of an object, which is for the right size."""
    try:
        masks.check(table.masks[int(table.mask_rows[row])], tuple(table.image_hw[table.image_of_object(row)].tolist()))
        return ""
    except ValueError as problem:
        return str(problem)
