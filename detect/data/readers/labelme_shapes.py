"""Boxes, polygons and run-length encodings of labelme's shapes.

Format: https://github.com/wkentaro/labelme. Coordinates are absolute pixels, y down. The points of a shape are

- polygon, also without a type; oriented_rectangle, and rotation and quadrilateral in X-AnyLabeling: the vertices,
- rectangle: two opposite corners in any order, or all four,
- circle: the center and a point on the circle,
- mask: the upper left and the lower right pixel of a PNG that is 0 outside the object.

Lines, points and the cuboids of X-AnyLabeling have no area.
"""

from __future__ import annotations

import base64
import math
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detect.data.readers.geometry import from_vertices, mask_in_image
from detect.data.readers.mask_images import opened_png
from detect.data.readers.via_shapes import box_and_polygon
from detect.data.unvalidated_split import InvalidEntryError
from detect.structures.masks import Rle
from detect.text import unknown

_WITHOUT_AREA = ("line", "linestrip", "point", "points", "cuboid")
_BACKGROUND_LABELS = ("__ignore__", "_background_", "__background__")  # the first two lines of labelme's labels.txt
_ALIGNED_PX = 0.01  # of corners that should have the same coordinate
_VERTICAL, _HORIZONTAL = (True, False), (False, True)  # sides with equal x, and with equal y
_SIZE_TOLERANCE_PX = 2  # corners are rounded, and some programs count the last pixel while others do not


class Geometry(NamedTuple):
    """What a shape covers, in absolute pixels.

    Attributes:
        box: xyxy, or None for a mask.
        mask: polygon [x0, y0, x1, y1, ...] or RLE.
        is_box: bool, whether the shape was drawn as a box, upright or rotated.
        is_rotated: bool, whether it was drawn as a box that is not upright.
    """

    box: list[float] | None
    mask: list[float] | Rle
    is_box: bool = False
    is_rotated: bool = False


class Shape(msgspec.Struct):
    """A shape as labelme writes it: ``points`` are pairs (x, y), ``mask`` is a PNG in base64."""

    points: list[tuple[float, float]]
    label: Any = ""
    shape_type: str | None = None
    group_id: Any = None
    mask: str | None = None


def parse_shape(entry: Any) -> Shape:
    """Return an entry of ``shapes``, whose label may be empty. Raises InvalidEntryError for wrong types.

    Numbers in quotes are accepted as coordinates.
    """
    try:
        shape = msgspec.convert(entry, Shape, strict=False)
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed_object", str(problem)) from None
    if not isinstance(shape.label, str | int | float | None) or isinstance(shape.label, bool):
        raise InvalidEntryError("malformed_object", f"the label is {str(shape.label)[:60]!r}; expected text")
    if not isinstance(shape.group_id, str | int | float | None):
        raise InvalidEntryError("malformed_object", f"the group_id is {str(shape.group_id)[:60]!r}; expected a number")
    shape.label = "" if shape.label is None else " ".join(str(shape.label).split())
    shape.shape_type = (shape.shape_type or "polygon").strip().lower()
    if shape.group_id == "":
        shape.group_id = None
    return shape


def why_left_out(shape: Shape) -> str:
    """Return the kind of problem of a shape that is not an object, see ``problems.KINDS``; "" for an object."""
    if shape.label.lower() in _BACKGROUND_LABELS:
        return "background_shape"
    return "shape_without_area" if shape.shape_type in _WITHOUT_AREA else ""


def shape_geometry(shape: Shape, image_hw: tuple[int, int]) -> Geometry:
    """Return what an object covers. Raises InvalidEntryError if that is nothing, and for an object without a label.

    image_hw: (height, width) of the image in pixels, (0, 0) if unknown.
    """
    if not shape.label:
        raise InvalidEntryError("no_class", "the label is empty")
    kind = shape.shape_type or ""
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
        return _rotated(shape, image_hw)
    (left, right), (upper, lower) = _edges(shape, "2 or 4 corners")
    corners = [(left, upper), (right, upper), (right, lower), (left, lower)]
    return _from_vertices(corners)._replace(is_box=True)


def _rotated(shape: Shape, image_hw: tuple[int, int]) -> Geometry:
    if len(shape.points) != 4:
        raise InvalidEntryError("malformed_object", f"a {shape.shape_type} has 4 vertices, not {len(shape.points)}")
    return _polygon(shape, image_hw)._replace(is_box=True, is_rotated=not _is_upright(shape.points))


def _is_upright(corners: list[tuple[float, float]]) -> bool:
    """Return whether the sides between four vertices are horizontal and vertical by turns."""
    sides = [
        (abs(x - u) <= _ALIGNED_PX, abs(y - v) <= _ALIGNED_PX) for (x, y), (u, v) in pairwise([*corners, corners[0]])
    ]
    return sides in ([_VERTICAL, _HORIZONTAL] * 2, [_HORIZONTAL, _VERTICAL] * 2)


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
    return Geometry(None, mask_in_image(crop, (round(left), round(upper)), image_hw))


_GEOMETRIES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _rotated,
    "rotation": _rotated,
    "quadrilateral": _polygon,
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
        content = base64.b64decode(png)
    except ValueError as error:
        raise InvalidEntryError("invalid_mask", f"the mask is not base64: {error}") from None
    with opened_png(content) as image:
        if max(abs(image.height - box_hw[0]), abs(image.width - box_hw[1])) > _SIZE_TOLERANCE_PX:
            size = f"{image.width}x{image.height} pixels"
            raise InvalidEntryError("invalid_mask", f"its PNG has {size}, its box {box_hw[1]:g}x{box_hw[0]:g}")
        bitmap = np.asarray(image)
    if bitmap.ndim != 2:
        raise InvalidEntryError("invalid_mask", "the PNG of the mask is in color; expected 0 outside the object")
    return bitmap != 0
