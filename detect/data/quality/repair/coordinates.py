"""Annotations that are moved to where their image really is: turned as EXIF says, or scaled to its size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detect.data.columns import MaskBuilder
from detect.data.table import Table
from detect.media.images import MAX_PIXELS, Header, upright
from detect.structures import masks
from detect.structures.masks import Polygons, Rle

_SAME_ASPECT = 0.01


def turned(table: Table, rows: Sequence[int], headers: Sequence[Header | str]) -> Table:
    """The images at ``rows``, which were annotated as they lie in their files, as they are seen."""
    return _moved(table, {row: header for row in rows if isinstance(header := headers[row], Header)})


def scaled(table: Table, rows: Sequence[int], headers: Sequence[Header | str]) -> Table:
    """The images at ``rows``, which were annotated at another size, where that has the shape of the image, as it
    is seen or as it lies in its file. The others are not touched: nobody knows which part of them was annotated."""
    moves = {}
    for row in rows:
        header, annotated_hw = headers[row], table.image_hw[row].tolist()
        if not isinstance(header, Header):
            continue
        if _alike(annotated_hw, header.image_hw):
            moves[row] = replace(header, orientation=1)
        elif header.turned and _alike(annotated_hw, header.image_hw[::-1]):
            moves[row] = header
    return _moved(table, moves)


def _alike(one_hw: Sequence[int], other_hw: Sequence[int]) -> bool:
    return abs(one_hw[0] * other_hw[1] / (one_hw[1] * other_hw[0]) - 1) <= _SAME_ASPECT


def _moved(table: Table, moves: Mapping[int, Header]) -> Table:
    """Images with the sizes of their headers, and their objects scaled to these after they were turned."""
    if not moves:
        return table
    boxes, areas, sizes = table.boxes.copy(), table.areas.copy(), table.image_hw.copy()
    builder, drawn, bare = MaskBuilder(), [], table.lacks_mask
    for row, header in moves.items():
        stored_hw = header.image_hw[::-1] if header.turned else header.image_hw
        factors = np.array(stored_hw[::-1]) / table.image_hw[row][::-1]  # x, y
        objects = slice(int(table.object_starts[row]), int(table.object_starts[row + 1]))
        corners = _moved_points(boxes[objects].reshape(-1, 2), factors, header).reshape(-1, 4)
        low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
        boxes[objects], sizes[row] = np.hstack([low, high]), header.image_hw
        areas[objects] *= factors.prod()
        for one in range(objects.start, objects.stop):
            if not bare[one]:
                builder.add(_moved_mask(table.masks[int(table.mask_rows[one])], factors, header, stored_hw))
                drawn.append(one)
    table = replace(table, boxes=boxes, areas=areas, image_hw=sizes)
    return table.with_masks(np.array(drawn, np.int64), builder.finish())


def _moved_points(points: np.ndarray, factors: np.ndarray, header: Header) -> np.ndarray:
    """float64 [n, 2] x, y; the same steps as those of ``images.upright`` for pixels."""
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
    """The mask at its new place; one that cannot be drawn as it is, which is found later."""
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
