"""What is odd about boxes and masks that can be trained on: checks over whole columns."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import shapely
from scipy.spatial import cKDTree

from detect import progress
from detect.data.columns import NONE, POLYGONS
from detect.data.quality.checks.annotations import Found
from detect.data.table import Table
from detect.structures import masks

_MANY = 20_000  # masks from which on a bar is shown
_TINY_PX = 2.0
_WHOLE = 0.99  # of both sides
_FITS_IOU = 0.9  # of the box and the mask's own
_FITS_PX = 2.0  # though whatever their IoU, edges may be so far apart: small boxes are rounded too
_TWICE_PX, _TWICE_IOU = 1.0, 0.95


def check_shapes(table: Table) -> Iterator[Found]:
    """Every kind of this module; the table is clean."""
    yield from check_sizes(table)
    yield from check_crossings(table)
    yield from check_fit(table)
    yield from check_doubles(table)


def check_sizes(table: Table) -> Iterator[Found]:
    """tiny_box and whole_image."""
    sides = table.boxes[:, 2:] - table.boxes[:, :2]
    wh = table.image_hw[table.images][:, ::-1]
    clipped = np.minimum(table.boxes[:, 2:], wh) - np.maximum(table.boxes[:, :2], 0)
    for kind, odd in (
        ("tiny_box", (sides < _TINY_PX).any(axis=1)),
        ("whole_image", (clipped >= _WHOLE * wh).all(axis=1) & ~table.iscrowd),
    ):
        yield Found(kind, np.flatnonzero(odd), table.boxes[odd])


def check_crossings(table: Table) -> Iterator[Found]:
    """self_crossing, with the place. A polygon that touches itself, or runs back along its own line, is in order."""
    rows, places = [], []
    drawn = np.flatnonzero(table.masks.kinds[table.mask_rows] == POLYGONS).tolist()
    for row in progress.bar(drawn, desc="following polygons", disable=len(drawn) < _MANY):
        for polygon in table.masks[int(table.mask_rows[row])]:
            if (place := _crossing(np.asarray(polygon).reshape(-1, 2))) is not None:
                rows.append(row)
                places.append(place)
                break
    yield Found("self_crossing", np.array(rows, np.int64), np.array(places).reshape(-1, 2))


def _crossing(points: np.ndarray) -> np.ndarray | None:
    """Where the outline [n, 2] crosses itself, [2], so that what it goes round depends on how one counts; or None."""
    outline = shapely.Polygon(points)
    if shapely.is_valid(outline) or math.isclose(outline.area, shapely.make_valid(outline).area, rel_tol=1e-6):
        return None
    return np.array(shapely.is_valid_reason(outline).partition("[")[2].rstrip("]").split()[:2], float)


def check_fit(table: Table) -> Iterator[Found]:
    """empty_mask, and box_mask_differ, whose value is the box of the mask. Crowds are left alone, whose boxes are
    rough."""
    rows = np.flatnonzero((table.masks.kinds[table.mask_rows] != NONE) & ~table.iscrowd)
    wh = np.tile(table.image_hw[table.images[rows]][:, ::-1], 2)
    of_masks, areas = _measured(table, rows)
    of_masks, boxes = np.clip(of_masks, 0, wh), np.clip(table.boxes[rows], 0, wh)
    # What is thinner than a pixel may fill none.
    empty = ((of_masks[:, 2:] - of_masks[:, :2]) < 1).any(axis=1) | (areas < 1)
    empty[empty] = [not masks.area(table.rle(row)) for row in rows[empty].tolist()]
    yield Found("empty_mask", rows[empty], of_masks[empty])
    differ = (np.abs(boxes - of_masks).max(axis=1) > _FITS_PX) & (_iou(boxes, of_masks) < _FITS_IOU) & ~empty
    # The pixels of a thin polygon may reach less far than its points, and some formats' boxes are theirs.
    pixels = np.array([masks.box(table.rle(row)) for row in rows[differ].tolist()]).reshape(-1, 4)
    differ[differ] = np.abs(boxes[differ] - pixels).max(axis=1) > _FITS_PX
    yield Found("box_mask_differ", rows[differ], of_masks[differ])


def _measured(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the masks of the objects at ``rows``, which have some: float64 [n, 4] their boxes xyxy in pixels, of polygons
    by their points, and float64 [n] their areas in px², of polygons by the shoelace formula, parts added up."""
    boxes, areas = np.zeros((len(rows), 4)), np.zeros(len(rows))
    for i, row in enumerate(progress.bar(rows.tolist(), desc="comparing boxes and masks", disable=len(rows) < _MANY)):
        mask = table.masks[int(table.mask_rows[row])]
        if isinstance(mask, dict):
            boxes[i], areas[i] = masks.box(mask), masks.area(mask)
            continue
        parts = [np.asarray(polygon).reshape(-1, 2) for polygon in mask]
        boxes[i, :2] = np.min([part.min(axis=0) for part in parts], axis=0)
        boxes[i, 2:] = np.max([part.max(axis=0) for part in parts], axis=0)
        areas[i] = sum(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in (part.T for part in parts))
    return boxes, areas


def check_doubles(table: Table) -> Iterator[Found]:
    """duplicate_object, the later one of two, and two_classes: boxes of one image in the same place."""
    if not len(table.labels):
        return
    # The image is a further side of the box, in which no two images are near.
    places = np.column_stack([table.boxes, 10 * _TWICE_PX * table.images])
    pairs = np.sort(cKDTree(places).query_pairs(_TWICE_PX, p=np.inf, output_type="ndarray"), axis=1)
    earlier, later = pairs[:, 0], pairs[:, 1]
    same = (table.iscrowd[earlier] == table.iscrowd[later]) & (
        _iou(table.boxes[earlier], table.boxes[later]) >= _TWICE_IOU
    )
    one_class = table.labels[earlier] == table.labels[later]
    for kind, found in (("duplicate_object", same & one_class), ("two_classes", same & ~one_class)):
        rows = np.unique(later[found])
        yield Found(kind, rows, table.boxes[rows])


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each pair of rows, [n]."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)
