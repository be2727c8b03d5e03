"""Positions of labels that overlap no other label and hide as little as possible of the objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

PixelBox = tuple[int, int, int, int]  # xyxy

_MAX_HIDDEN = 0.25  # sum of the fractions of the objects that a label may hide
_MAX_HIDDEN_IF_NEEDED = 1.0
_OWN = 0.5  # importance of the label's own object, which it may hide more than others
_GAP = 1  # pixels between labels
# Cost of each position; 1 equals the cost of hiding a whole object: above the box, inside it, below it, beside it.
_POSITION_COSTS = np.array([0, 0.02, 0.03, 0.03, 0.05, 0.05, 0.05, 0.05, 0.07, 0.07, 0.07, 0.1, 0.1, 0.12, 0.12])


def place_labels(
    boxes: np.ndarray,
    sizes_wh: np.ndarray,
    costs: np.ndarray,
    order: Sequence[int],
    is_needed: np.ndarray,
    image_hw: tuple[int, int],
    cell: float,
    taken: Iterable[PixelBox] = (),
) -> list[tuple[int, int, int] | None]:
    """Return for each object which of its labels to draw and its upper left corner (variant, x, y); None for no label.

    boxes: int [N, 4], xyxy in pixels, inside the image.
    sizes_wh: int [N, V, 2], width and height of V variants of each label, in pixels.
    costs: float [N, V], cost of each variant; 1 equals the cost of hiding a whole object.
    order: the objects in the order in which they choose a position.
    is_needed: bool [N], True for labels that may hide as much as one whole object; others may hide a quarter of one.
    cell: size in pixels of the squares in which the hidden area is measured.
    taken: positions of other things that labels do not hide.

    A label is at a corner of its box, outside or inside, or beside it. It never overlaps another label, and has the
    position and the variant with the lowest cost: the sum of the fractions of all objects that it hides, and the
    preference for variant and position.
    """
    corners = _candidates(boxes, sizes_wh, image_hw)
    hidden = _hidden(corners, boxes, image_hw, cell) - (1 - _OWN) * _fraction_of_own(corners, boxes)
    hidden = hidden.reshape(len(boxes), -1)
    cost = hidden + (costs[:, :, None] + _POSITION_COSTS).reshape(len(boxes), -1)
    cost[hidden > np.where(is_needed, _MAX_HIDDEN_IF_NEEDED, _MAX_HIDDEN)[:, None]] = np.inf
    num_allowed = np.isfinite(cost).sum(axis=1).tolist()
    by_cost = cost.argsort(axis=1).tolist()
    occupied = np.zeros(image_hw, bool)
    for x0, y0, x1, y1 in taken:
        occupied[y0:y1, x0:x1] = True
    placed: list[tuple[int, int, int] | None] = [None] * len(boxes)
    for i in order:
        own = corners[i].reshape(-1, 4).tolist()
        for candidate in by_cost[i][: num_allowed[i]]:
            x0, y0, x1, y1 = own[candidate]
            if not occupied[y0:y1, x0:x1].any():
                occupied[max(y0 - _GAP, 0) : y1 + _GAP, max(x0 - _GAP, 0) : x1 + _GAP] = True
                placed[i] = candidate // len(_POSITION_COSTS), x0, y0
                break
    return placed


def _candidates(boxes: np.ndarray, sizes_wh: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
    """Return the possible positions of each variant of each label, int [N, V, positions, 4], xyxy inside the image."""
    x0, y0, x1, y1 = (boxes[:, None, i] for i in range(4))
    w, h = sizes_wh[..., 0], sizes_wh[..., 1]
    center, right, above, bottom = (x0 + x1 - w) // 2, x1 - w, y0 - h, y1 - h
    positions = [
        *((x0, above), (x0, y0), (center, above), (right, above)),
        *((x0, y1), (right, y0), (x0, bottom), (right, bottom)),
        *((center, (y0 + y1 - h) // 2), (center, y1), (right, y1)),
        *((x1, y0), (x0 - w, y0), (x1, bottom), (x0 - w, bottom)),
    ]
    x = np.stack([np.broadcast_to(x, w.shape) for x, _ in positions], axis=2)
    y = np.stack([np.broadcast_to(y, w.shape) for _, y in positions], axis=2)
    x = x.clip(0, np.maximum(image_hw[1] - w, 0)[..., None])
    y = y.clip(0, np.maximum(image_hw[0] - h, 0)[..., None])
    return np.stack([x, y, x + w[..., None], y + h[..., None]], axis=3)


def _fraction_of_own(corners: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the fraction of its own box that each label hides, float [N, V, positions]."""
    own = boxes[:, None, None]
    sides = np.minimum(corners[..., 2:], own[..., 2:]) - np.maximum(corners[..., :2], own[..., :2])
    areas = (own[..., 2:] - own[..., :2]).prod(axis=3)
    return sides.clip(0).prod(axis=3) / np.maximum(areas, 1)


def _hidden(corners: np.ndarray, boxes: np.ndarray, image_hw: tuple[int, int], cell: float) -> np.ndarray:
    """Return the sum of the fractions of all boxes that a rectangle hides, for int [..., 4] rectangles.

    A summed-area table on a grid makes the time independent of the number of boxes.
    """
    height, width = (int(np.ceil(side / cell)) + 1 for side in image_hw)
    grid = np.rint(boxes / cell).astype(int)
    x0, y0 = grid[:, 0].clip(0, width - 1), grid[:, 1].clip(0, height - 1)
    x1, y1 = np.maximum(grid[:, 2], x0 + 1), np.maximum(grid[:, 3], y0 + 1)
    weight = 1 / ((x1 - x0) * (y1 - y0))
    steps = np.zeros((height + 1, width + 1))
    for x, y, sign in ((x0, y0, 1), (x1, y1, 1), (x0, y1, -1), (x1, y0, -1)):
        np.add.at(steps, (y.clip(0, height), x.clip(0, width)), sign * weight)
    table = cv2.integral(steps.cumsum(axis=0).cumsum(axis=1))
    left, top, right, bottom = np.moveaxis(np.rint(corners * (1 / cell)).astype(int), -1, 0)
    right, bottom = np.minimum(right, width), np.minimum(bottom, height)  # of labels that are larger than the image
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
