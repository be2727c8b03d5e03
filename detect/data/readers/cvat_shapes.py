"""Boxes, polygons and masks of CVAT's shapes.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. Coordinates are absolute pixels, y down:

- box: ``xtl ytl xbr ybr``, the edges, and optionally ``rotation``,
- polygon: ``points``, as ``x,y;x,y;...``,
- ellipse: center ``cx cy``, radii ``rx ry``, and optionally ``rotation``,
- mask: ``rle``, the lengths of runs of 0 and 1 by turns, beginning with 0, row by row inside the rectangle
  ``left top width height``,
- cuboid: 8 corners; read as the box around them.

``rotation`` is in degrees, clockwise around the center. Points, polylines, skeletons and tags have no area.
"""

from __future__ import annotations

import math
from xml.etree.ElementTree import Element

import numpy as np

from detect.data.readers.geometry import Geometry, box_outline, from_vertices, mask_in_image
from detect.data.readers.parsing import parse_number
from detect.data.readers.via_shapes import box_and_polygon
from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS
from detect.structures.polygons import rotated_rectangle

WITHOUT_AREA = ("points", "polyline", "skeleton", "tag")
_CUBOID_CORNERS = ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")


def shape_geometry(shape: Element, image_hw: tuple[int, int]) -> Geometry:
    """Return what a shape covers. Raises InvalidEntryError if that is nothing.

    image_hw: (height, width) of the image in pixels, (0, 0) if unknown.
    """
    return SHAPES[shape.tag](shape, image_hw)


def _box(shape: Element, _: tuple[int, int]) -> Geometry:
    left, upper, right, lower = box = [_number(shape, key) for key in ("xtl", "ytl", "xbr", "ybr")]
    degrees = _rotation(shape)
    if not degrees % 360:
        return Geometry(box, [box_outline(box)], is_box=True)
    center, size = ((left + right) / 2, (upper + lower) / 2), (abs(right - left), abs(lower - upper))
    if not min(size):
        raise InvalidEntryError("zero_area_box", f"({left:g}, {upper:g}, {right:g}, {lower:g})")
    box, polygon = rotated_rectangle(center, size, degrees)
    return Geometry(box, [polygon], is_box=True, is_rotated=degrees % 90 != 0)


def _polygon(shape: Element, _: tuple[int, int]) -> Geometry:
    points = [point.split(",") for point in shape.get("points", "").split(";") if point.strip()]
    if any(len(point) != 2 for point in points):
        raise InvalidEntryError("malformed_object", f"points {shape.get('points', '')[:60]!r}; expected x,y;x,y;...")
    if len(points) < 3:
        raise InvalidEntryError("too_few_points", str(len(points)))
    box, polygon = from_vertices(*([_finite("a coordinate", text) for text in axis] for axis in zip(*points)))  # noqa: B905
    return Geometry(box, [polygon])


def _ellipse(shape: Element, _: tuple[int, int]) -> Geometry:
    values = {key: _number(shape, key) for key in ("cx", "cy", "rx", "ry")}
    radii = {"rx": abs(values["rx"]), "ry": abs(values["ry"])}
    theta = math.radians(_rotation(shape))
    box, polygon = box_and_polygon(values | radii | {"name": "ellipse", "theta": theta}, "ellipse")
    return Geometry(box, [polygon])


def _cuboid(shape: Element, _: tuple[int, int]) -> Geometry:
    xs, ys = ([_number(shape, f"{axis}{corner}") for corner in _CUBOID_CORNERS] for axis in "xy")
    return Geometry(from_vertices(xs, ys).box, None)


def _mask(shape: Element, image_hw: tuple[int, int]) -> Geometry:
    left, top, width, height = (_whole_number(shape, key) for key in ("left", "top", "width", "height"))
    try:
        runs = np.array([int(text) for text in shape.get("rle", "").split(",")], np.int64)
    except (ValueError, OverflowError):
        raise InvalidEntryError("invalid_mask", "its rle is not a list of whole numbers") from None
    if not 0 < width * height <= MAX_PIXELS or (runs < 0).any() or (runs > MAX_PIXELS).any():
        raise InvalidEntryError("invalid_mask", f"a mask of {width}x{height} pixels")
    if runs.sum() != width * height:
        raise InvalidEntryError("invalid_mask", f"its rle counts {runs.sum()} pixels, it has {width}x{height}")
    crop = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width).astype(bool)
    return Geometry(None, mask_in_image(crop, (left, top), image_hw))


SHAPES = {"box": _box, "polygon": _polygon, "ellipse": _ellipse, "mask": _mask, "cuboid": _cuboid}


def _rotation(shape: Element) -> float:
    return _finite("rotation", shape.get("rotation") or "0")


def _number(shape: Element, key: str) -> float:
    if key not in shape.attrib:
        raise InvalidEntryError("malformed_object", f"no {key}")
    return _finite(key, shape.attrib[key])


def _finite(key: str, text: str) -> float:
    number = parse_number(key, text)
    if not math.isfinite(number):
        raise InvalidEntryError("non_finite_box", f"{key} is {text[:60]!r}")
    return number


def _whole_number(shape: Element, key: str) -> int:
    number = _number(shape, key)
    if not number.is_integer() or abs(number) > MAX_PIXELS:
        raise InvalidEntryError("malformed_object", f"{key} is {number:g}; expected a whole number of pixels")
    return int(number)
