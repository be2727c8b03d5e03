"""What annotated shapes cover, as several readers need it: boxes, polygons and masks in absolute pixels, y down."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS
from detect.structures import masks
from detect.structures.masks import Polygons, Rle


class BoxAndPolygon(NamedTuple):
    """A shape in absolute pixels: ``box`` xyxy, and ``polygon`` [x0, y0, x1, y1, ...]."""

    box: list[float]
    polygon: list[float]


class Geometry(NamedTuple):
    """What a shape covers, in absolute pixels.

    Attributes:
        box: xyxy, or None for a mask.
        mask: polygons or RLE; None for a cuboid.
        is_box: bool, whether the shape was drawn as a box, upright or rotated.
        is_rotated: bool, whether it was drawn as a box that is not upright.
    """

    box: list[float] | None
    mask: Polygons | Rle | None
    is_box: bool = False
    is_rotated: bool = False


def from_vertices(xs: Sequence[float], ys: Sequence[float]) -> BoxAndPolygon:
    """Return the polygon with the vertices (xs[i], ys[i]) and its box."""
    return BoxAndPolygon([min(xs), min(ys), max(xs), max(ys)], [*chain(*zip(xs, ys, strict=True))])


def box_outline(box: Sequence[float]) -> list[float]:
    """Return the outline of a box xyxy as a polygon of its four corners, clockwise from the upper left one."""
    left, upper, right, lower = box
    return [left, upper, right, upper, right, lower, left, lower]


def box_around(boxes: Sequence[list[float]]) -> list[float]:
    """Return the smallest box that contains all ``boxes``, each xyxy."""
    lefts, uppers, rights, lowers = zip(*boxes, strict=True)
    return [min(lefts), min(uppers), max(rights), max(lowers)]


def mask_in_image(crop: np.ndarray, corner_xy: tuple[int, int], image_hw: tuple[int, int]) -> Rle:
    """Return a mask, bool [h, w], whose upper left pixel is at ``corner_xy``, clipped to an image of ``image_hw``.

    Raises InvalidEntryError for an image of unknown size or more than MAX_PIXELS, and for a mask without a pixel
    inside the image.
    """
    (height, width), (x, y) = image_hw, corner_xy
    if not 0 < height * width <= MAX_PIXELS:
        raise InvalidEntryError("invalid_mask", f"the image has {width}x{height} pixels")
    inside = crop[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    if not crop.any():
        raise InvalidEntryError("zero_area_box", "the mask is empty")
    if not inside.any():
        h, w = crop.shape
        raise InvalidEntryError("box_outside_image", f"({x}, {y}, {x + w}, {y + h})")
    return masks.from_crop(inside, (max(x, 0), max(y, 0)), image_hw)
