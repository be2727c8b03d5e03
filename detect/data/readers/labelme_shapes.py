"""Boxes, polygons and run-length encodings of labelme's shapes.

Format: https://github.com/wkentaro/labelme. Coordinates are absolute pixels, y down. The points of a shape are

- polygon, also without a type; oriented_rectangle, and rotation in X-AnyLabeling: the vertices,
- rectangle: two opposite corners in any order, or all four,
- circle: the center and a point on the circle,
- mask: the upper left and the lower right pixel of a PNG that is 0 outside the object.

Lines and points have no area.
"""

from __future__ import annotations

import base64
import math
from io import BytesIO
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from detect.data.readers.via_shapes import box_and_polygon, from_vertices
from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS
from detect.structures import masks
from detect.structures.masks import Rle
from detect.text import unknown

_WITHOUT_AREA = ("line", "linestrip", "point", "points")
_SIZE_TOLERANCE_PX = 2  # corners are rounded, and some programs count the last pixel while others do not


class Geometry(NamedTuple):
    """What a shape covers, in absolute pixels.

    Attributes:
        box: xyxy, or None for a mask.
        mask: polygon [x0, y0, x1, y1, ...] or RLE.
    """

    box: list[float] | None
    mask: list[float] | Rle


class Shape(msgspec.Struct):
    """A shape as labelme writes it: ``points`` are pairs (x, y), ``mask`` is a PNG in base64."""

    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None
    group_id: int | float | str | None = None
    mask: str | None = None


def parse_shape(entry: Any) -> Shape:
    """Return an entry of ``shapes``. Raises InvalidEntryError for missing keys, wrong types and an empty label."""
    try:
        shape = msgspec.convert(entry, Shape)
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed_object", str(problem)) from None
    shape.label = " ".join(shape.label.split())
    if not shape.label:
        raise InvalidEntryError("malformed_object", "no label")
    return shape


def shape_geometry(shape: Shape, image_hw: tuple[int, int]) -> Geometry:
    """Return what a shape covers. Raises InvalidEntryError if that is nothing.

    image_hw: (height, width) of the image in pixels, (0, 0) if unknown.
    """
    kind = shape.shape_type or "polygon"
    if kind in _WITHOUT_AREA:
        raise InvalidEntryError("malformed_object", f"a shape of type {kind} has no area")
    if kind not in _GEOMETRIES:
        raise InvalidEntryError("malformed_object", unknown("shape", kind[:60], (*_GEOMETRIES, *_WITHOUT_AREA)))
    if not all(map(math.isfinite, chain(*shape.points))):
        raise InvalidEntryError("non_finite_box", f"coordinates {str(shape.points)[:60]}")
    return _GEOMETRIES[kind](shape, image_hw)


def _polygon(shape: Shape, _: tuple[int, int]) -> Geometry:
    if len(shape.points) < 3:
        raise InvalidEntryError("too_few_points", str(len(shape.points)))
    return _from_vertices(shape.points)


def _rectangle(shape: Shape, image_hw: tuple[int, int]) -> Geometry:
    if len(shape.points) == 4:
        return _polygon(shape, image_hw)
    (left, right), (upper, lower) = _edges(shape, "2 or 4 corners")
    return _from_vertices([(left, upper), (right, upper), (right, lower), (left, lower)])


def _circle(shape: Shape, _: tuple[int, int]) -> Geometry:
    if len(shape.points) != 2:
        raise InvalidEntryError(
            "malformed_object", f"a circle has 2 points, the center and one on the circle, not {len(shape.points)}"
        )
    (x, y), rim = shape.points
    return Geometry(*box_and_polygon({"name": "circle", "cx": x, "cy": y, "r": math.dist((x, y), rim)}, ""))


def _mask(shape: Shape, image_hw: tuple[int, int]) -> Geometry:
    (left, right), (upper, lower) = _edges(shape, "2 corners")
    crop = _decode_png(shape.mask or "", (lower - upper, right - left))
    height, width = image_hw
    if not 0 < height * width <= MAX_PIXELS:
        raise InvalidEntryError(
            "invalid_mask", f"an image of {width}x{height} pixels is too large for a mask, or empty"
        )
    x, y = round(left), round(upper)
    inside = crop[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    if not inside.size:
        raise InvalidEntryError("box_outside_image", f"({left:g}, {upper:g}, {right:g}, {lower:g})")
    if not inside.any():
        raise InvalidEntryError("zero_area_box", "the mask is empty")
    return Geometry(None, masks.from_crop(inside, (max(x, 0), max(y, 0)), image_hw))


_GEOMETRIES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "rotation": _polygon,
    "circle": _circle,
    "mask": _mask,
}


def _from_vertices(points: list[tuple[float, float]]) -> Geometry:
    return Geometry(*from_vertices(*zip(*points, strict=True)))


def _edges(shape: Shape, expected: str) -> tuple[list[float], list[float]]:
    """Return (left, right) and (upper, lower) of two opposite corners. Raises InvalidEntryError for other counts."""
    if len(shape.points) != 2:
        raise InvalidEntryError("malformed_object", f"a {shape.shape_type} has {expected}, not {len(shape.points)}")
    xs, ys = zip(*shape.points, strict=True)
    return sorted(xs), sorted(ys)


def _decode_png(png: str, box_hw: tuple[float, float]) -> np.ndarray:
    """Return the pixels of a mask, bool [h, w].

    Raises InvalidEntryError unless it is a grayscale PNG of about the size of its box. The size is checked before the
    pixels are decoded.
    """
    try:
        with Image.open(BytesIO(base64.b64decode(png)), formats=["PNG"]) as image:
            if max(abs(image.height - box_hw[0]), abs(image.width - box_hw[1])) > _SIZE_TOLERANCE_PX:
                size = f"{image.width}x{image.height} pixels"
                raise InvalidEntryError("invalid_mask", f"its PNG has {size}, its box {box_hw[1]:g}x{box_hw[0]:g}")
            bitmap = np.asarray(image)
    except InvalidEntryError:
        raise
    except UnidentifiedImageError:
        raise InvalidEntryError("invalid_mask", "the mask is not a PNG") from None
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise InvalidEntryError("invalid_mask", f"the mask is a damaged PNG: {error}") from None
    if bitmap.ndim != 2:
        raise InvalidEntryError("invalid_mask", "the PNG of the mask is in color; expected 0 outside the object")
    return bitmap != 0
