"""Annotations rotated by the EXIF orientation of their image, or scaled to its size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detect.data.columns import MaskBuilder
from detect.data.table import Table
from detect.media.images import MAX_PIXELS, Header
from detect.media.orientation import upright
from detect.structures import masks
from detect.structures.masks import Polygons, Rle

_ASPECT_TOLERANCE = 0.01


def rotated(table: Table, rows: Sequence[int], headers: Sequence[Header | str]) -> Table:
    """Return the table with the annotations of images ``rows``, made on the stored pixels, rotated upright.

    headers: one per image of the table, or a message for an unreadable file.
    """
    return _moved(table, {row: header for row in rows if isinstance(header := headers[row], Header)})


def scaled(table: Table, rows: Sequence[int], headers: Sequence[Header | str]) -> Table:
    """Return the table with the annotations of images ``rows`` scaled to the size of the image.

    An image is scaled only if its annotated size has the aspect ratio of the image, upright or as stored; otherwise
    the image may have been cropped, and its annotations stay unchanged. headers: as for ``rotated``.
    """
    moves = {}
    for row in rows:
        header, annotated_hw = headers[row], table.image_hw[row].tolist()
        if not isinstance(header, Header):
            continue
        if _same_aspect(annotated_hw, header.image_hw):
            moves[row] = replace(header, orientation=1)
        elif header.is_sideways and _same_aspect(annotated_hw, header.image_hw[::-1]):
            moves[row] = header
    return _moved(table, moves)


def _same_aspect(one_hw: Sequence[int], other_hw: Sequence[int]) -> bool:
    return abs(one_hw[0] * other_hw[1] / (one_hw[1] * other_hw[0]) - 1) <= _ASPECT_TOLERANCE


def _moved(table: Table, moves: Mapping[int, Header]) -> Table:
    """Return the table with images in the sizes of their headers, and objects rotated and scaled accordingly.

    moves: headers by image row; their orientation is applied.
    """
    if not moves:
        return table
    boxes, areas, sizes = table.boxes.copy(), table.areas.copy(), table.image_hw.copy()
    builder, replaced = MaskBuilder(), []
    for image, header in moves.items():
        stored_hw = header.image_hw[::-1] if header.is_sideways else header.image_hw
        factors = np.array(stored_hw[::-1]) / table.image_hw[image][::-1]  # x, y
        objects = table.objects(image)
        corners = _moved_points(boxes[objects].reshape(-1, 2), factors, header).reshape(-1, 4)
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        boxes[objects], sizes[image] = np.hstack([low, high]), header.image_hw
        areas[objects] *= factors.prod()
        for row in range(objects.start, objects.stop):
            if (mask := table.mask(row)) is not None:
                builder.add(_moved_mask(mask, factors, header, stored_hw))
                replaced.append(row)
    table = replace(table, boxes=boxes, areas=areas, image_hw=sizes)
    return table.with_masks(np.array(replaced, np.int64), builder.finish())


def _moved_points(points: np.ndarray, factors: np.ndarray, header: Header) -> np.ndarray:
    """Return points, float64 [n, 2] x, y, scaled and rotated in the order in which ``images.upright`` moves pixels."""
    height, width = header.image_hw
    points = points * factors
    if header.orientation >= 5:
        points = points[:, ::-1].copy()
    if header.orientation in (3, 4, 7, 8):
        points[:, 1] = height - points[:, 1]
    if header.orientation in (2, 3, 6, 7):
        points[:, 0] = width - points[:, 0]
    return points


def _moved_mask(
    mask: Polygons | Rle, factors: np.ndarray, header: Header, stored_hw: tuple[int, int]
) -> Polygons | Rle:
    """Return the mask scaled by ``factors`` and rotated as the header says.

    An invalid mask is returned unchanged. A later check removes it."""
    if not isinstance(mask, dict):
        if any(len(polygon) % 2 for polygon in mask):
            return mask
        points = [np.asarray(polygon, float).reshape(-1, 2) for polygon in mask]
        return [_moved_points(one, factors, header).ravel() for one in points]
    try:
        masks.check(mask, tuple(mask["size"]))
    except ValueError:
        return mask
    if math.prod(mask["size"]) > MAX_PIXELS:
        return mask
    bitmap = masks.to_bitmap(mask)
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old // new, old - 1).astype(int)
        for new, old in zip(stored_hw, bitmap.shape, strict=True)
    )
    return masks.from_bitmap(upright(bitmap[rows][:, columns], header.orientation))
