"""Checks of the plausibility of valid boxes and masks, vectorized over columns where possible."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import shapely
from scipy.spatial import cKDTree

from detect import progress
from detect.data.columns import NO_MASK, POLYGONS
from detect.data.table import Table
from detect.data.validation.annotations import Finding
from detect.structures import masks

_BAR_MIN_MASKS = 20_000  # number of masks from which a progress bar is shown
_TINY_PX = 2.0
_FULL_IMAGE = 0.99  # fraction of both sides of the image
_FIT_IOU = 0.9  # minimum IoU of a box and the box of its mask
_FIT_PX = 2.0  # distance of their edges that is allowed at any IoU, since small boxes are rounded too
_DUPLICATE_PX, _DUPLICATE_IOU = 1.0, 0.95


def check_shapes(table: Table) -> Iterator[Finding]:
    """Find everything that this module checks, in a validated table."""
    yield from check_sizes(table)
    yield from check_self_intersections(table)
    yield from check_fit(table)
    yield from check_duplicate_objects(table)


def check_sizes(table: Table) -> Iterator[Finding]:
    """Find tiny boxes and boxes that cover the whole image."""
    sides = table.boxes[:, 2:] - table.boxes[:, :2]
    wh = table.image_hw[table.images][:, ::-1]
    clipped = np.minimum(table.boxes[:, 2:], wh) - np.maximum(table.boxes[:, :2], 0)
    for kind, odd in (
        ("tiny_box", (sides < _TINY_PX).any(axis=1)),
        ("full_image_box", (clipped >= _FULL_IMAGE * wh).all(axis=1) & ~table.iscrowd),
    ):
        yield Finding(kind, np.flatnonzero(odd), table.boxes[odd])


def check_self_intersections(table: Table) -> Iterator[Finding]:
    """Find polygons that intersect themselves; the value is the point of intersection.

    A polygon that only touches itself, or runs back along its own edge, is valid.
    """
    rows, points = [], []
    with_polygons = np.flatnonzero(table.masks.kinds[table.mask_rows] == POLYGONS).tolist()
    for row in progress.bar(with_polygons, desc="checking polygons", min_items=_BAR_MIN_MASKS):
        for polygon in table.masks[int(table.mask_rows[row])]:
            if (point := _self_intersection(np.asarray(polygon).reshape(-1, 2))) is not None:
                rows.append(row)
                points.append(point)
                break
    yield Finding("self_intersection", np.array(rows, np.int64), np.array(points).reshape(-1, 2))


def _self_intersection(points: np.ndarray) -> np.ndarray | None:
    """Return the point [2] where a polygon [n, 2] intersects itself so that its area is ambiguous; None if nowhere."""
    polygon = shapely.Polygon(points)
    if shapely.is_valid(polygon) or math.isclose(polygon.area, shapely.make_valid(polygon).area, rel_tol=1e-6):
        return None
    return np.array(shapely.is_valid_reason(polygon).partition("[")[2].rstrip("]").split()[:2], float)


def check_fit(table: Table) -> Iterator[Finding]:
    """Find empty masks and boxes that do not fit their masks; the value is the box of the mask, xyxy.

    Crowds are not checked, since their boxes are approximate.
    """
    rows = np.flatnonzero((table.masks.kinds[table.mask_rows] != NO_MASK) & ~table.iscrowd)
    wh = np.tile(table.image_hw[table.images[rows]][:, ::-1], 2)
    mask_boxes, areas = _boxes_and_areas(table, rows)
    mask_boxes, boxes = np.clip(mask_boxes, 0, wh), np.clip(table.boxes[rows], 0, wh)
    # A polygon thinner than a pixel may cover no pixel center, so only these masks are rasterized.
    empty = ((mask_boxes[:, 2:] - mask_boxes[:, :2]) < 1).any(axis=1) | (areas < 1)
    empty[empty] = [not masks.area(table.rle(row)) for row in rows[empty].tolist()]
    yield Finding("empty_mask", rows[empty], mask_boxes[empty])
    differ = (np.abs(boxes - mask_boxes).max(axis=1) > _FIT_PX) & (_iou(boxes, mask_boxes) < _FIT_IOU) & ~empty
    # The pixels of a thin polygon may extend less far than its vertices, and some formats' boxes follow the pixels.
    pixel_boxes = np.array([masks.box(table.rle(row)) for row in rows[differ].tolist()]).reshape(-1, 4)
    differ[differ] = np.abs(boxes[differ] - pixel_boxes).max(axis=1) > _FIT_PX
    yield Finding("box_mask_mismatch", rows[differ], mask_boxes[differ])


def _boxes_and_areas(table: Table, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of the masks of objects ``rows``, float64 [n, 4] xyxy, and their areas in px², float64 [n].

    Polygons are measured by their vertices and the shoelace formula, without rasterizing them; areas of parts add up.
    """
    boxes, areas = np.zeros((len(rows), 4)), np.zeros(len(rows))
    for i, row in enumerate(progress.bar(rows.tolist(), desc="comparing boxes and masks", min_items=_BAR_MIN_MASKS)):
        mask = table.masks[int(table.mask_rows[row])]
        if isinstance(mask, dict):
            boxes[i], areas[i] = masks.box(mask), masks.area(mask)
            continue
        parts = [np.asarray(polygon).reshape(-1, 2) for polygon in mask]
        boxes[i, :2] = np.min([part.min(axis=0) for part in parts], axis=0)
        boxes[i, 2:] = np.max([part.max(axis=0) for part in parts], axis=0)
        areas[i] = sum(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in (part.T for part in parts))
    return boxes, areas


def check_duplicate_objects(table: Table) -> Iterator[Finding]:
    """Find equal boxes in one image: of one class (the later object is reported), and of different classes."""
    if not len(table.labels):
        return
    # The image index is a fifth coordinate, scaled so that boxes of different images are never near each other.
    points = np.column_stack([table.boxes, 10 * _DUPLICATE_PX * table.images])
    pairs = np.sort(cKDTree(points).query_pairs(_DUPLICATE_PX, p=np.inf, output_type="ndarray"), axis=1)
    earlier, later = pairs[:, 0], pairs[:, 1]
    same = (table.iscrowd[earlier] == table.iscrowd[later]) & (
        _iou(table.boxes[earlier], table.boxes[later]) >= _DUPLICATE_IOU
    )
    one_class = table.labels[earlier] == table.labels[later]
    for kind, found in (("duplicate_object", same & one_class), ("conflicting_classes", same & ~one_class)):
        rows = np.unique(later[found])
        yield Finding(kind, rows, table.boxes[rows])


def _iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the IoU of each pair of rows, [n]."""
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)
