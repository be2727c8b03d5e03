"""Boxes and polygons of the region shapes of the VGG Image Annotator (VIA).

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. All coordinates are absolute pixels, y down. ``theta`` of an
ellipse is in radians, clockwise on the screen: VIA passes it to the browser's canvas. VIA 1 has no ``theta``.
"""

from __future__ import annotations

import math
from typing import Any

from detect.data.readers.geometry import BoxAndPolygon, box_outline, from_vertices
from detect.data.readers.parsing import json_number, require
from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError
from detect.text import unknown


def box_and_polygon(shape: Any, where: str) -> BoxAndPolygon:
    """Return the box and the polygon of ``shape_attributes``; ``where`` names the region in messages.

    Raises DataError for a shape that VIA would not write. Raises InvalidEntryError for a radius of 0, for numbers that
    are not finite, and, with the kind "shape_without_area", for a point and a line of fewer than 3 points.
    """
    name = require(shape, "name", where, str)
    if name not in _SHAPES:
        raise DataError(f"{where}: {unknown('shape', name, _SHAPES)}")
    return _SHAPES[name](shape, where)


def _polygon(shape: Any, where: str) -> BoxAndPolygon:
    xs, ys = _numbers(shape, "all_points_x", where), _numbers(shape, "all_points_y", where)
    if len(xs) != len(ys) or not xs:
        raise DataError(f"{where} has {len(xs)} x and {len(ys)} y coordinates")
    return from_vertices(xs, ys)


def _polyline(shape: Any, where: str) -> BoxAndPolygon:
    """Close the line, since many polygons are drawn with this tool."""
    closed = _polygon(shape, where)
    num_points = len(set(zip(closed.polygon[0::2], closed.polygon[1::2], strict=True)))
    if num_points < 3:
        raise InvalidEntryError("shape_without_area", f"a line of {num_points} different points has no area")
    return closed


def _rect(shape: Any, where: str) -> BoxAndPolygon:
    x, y, width, height = (_number(shape, key, where) for key in ("x", "y", "width", "height"))
    box = [x, y, x + width, y + height]
    return BoxAndPolygon(box, box_outline(box))


def _circle(shape: Any, where: str) -> BoxAndPolygon:
    cx, cy, r = (_number(shape, key, where) for key in ("cx", "cy", "r"))
    return _ellipse_polygon(cx, cy, r, r, 0.0)


def _ellipse(shape: Any, where: str) -> BoxAndPolygon:
    cx, cy, rx, ry = (_number(shape, key, where) for key in ("cx", "cy", "rx", "ry"))
    theta = _number(shape, "theta", where) if "theta" in shape else 0.0
    return _ellipse_polygon(cx, cy, rx, ry, theta)


def _point(shape: Any, where: str) -> BoxAndPolygon:
    raise InvalidEntryError("shape_without_area", "a point has no area")


_SHAPES = {
    "polygon": _polygon,
    "rect": _rect,
    "circle": _circle,
    "ellipse": _ellipse,
    "polyline": _polyline,
    "point": _point,
}


def _ellipse_polygon(cx: float, cy: float, rx: float, ry: float, theta: float) -> BoxAndPolygon:
    """Return the exact box of an ellipse, and a polygon of points on it.

    The polygon lies inside the ellipse and misses at most 0.3 % of its area (48 points). Larger ellipses get more
    points, so that chords are within 0.1 px of the arc: 222 points at a radius of 1000 px.
    """
    if min(rx, ry) <= 0:
        raise InvalidEntryError("zero_area_box", f"a radius of {min(rx, ry):g} gives no area")
    cos, sin = math.cos(theta), math.sin(theta)
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    count = math.ceil(min(max(48.0, math.pi * math.sqrt(5 * max(rx, ry))), 1000.0))
    polygon = []
    for i in range(count):
        along, across = rx * math.cos(math.tau * i / count), ry * math.sin(math.tau * i / count)
        polygon += [cx + along * cos - across * sin, cy + along * sin + across * cos]
    return BoxAndPolygon([cx - half_width, cy - half_height, cx + half_width, cy + half_height], polygon)


def _number(shape: Any, key: str, where: str) -> float:
    return _finite(require(shape, key, where), f"{where}: '{key}'")


def _numbers(shape: Any, key: str, where: str) -> list[float]:
    return [_finite(value, f"{where}: an item of '{key}'") for value in require(shape, key, where, list)]


def _finite(value: Any, what: str) -> float:
    """Return ``value`` as a float. Raises DataError for other types, InvalidEntryError for infinity and NaN."""
    if (number := json_number(value)) is None:
        raise DataError(f"{what} is {str(value)[:60]!r}; expected a number")
    if not math.isfinite(number):
        raise InvalidEntryError("non_finite_box", f"the coordinate {number} is not finite")
    return number
