"""The region shapes of the VGG Image Annotator as boxes and outlines.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. Everything is in absolute pixels, y down; ``theta`` of an
ellipse is in radians, clockwise as seen, since VIA hands it to the canvas of the browser as it is. Version 1
writes no ``theta``.
"""

from __future__ import annotations

import math
from typing import Any

from detect.data.readers.parsing import need
from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError
from detect.text import unknown

Outline = tuple[list[float], list[float]]  # box xyxy, polygon [x0, y0, x1, y1, ...]


def outline(shape: Any, where: str) -> Outline:
    """Box and polygon of a region's ``shape_attributes``; ``where`` names the region in messages.

    Raises DataError for a shape that is not written as VIA writes it, Unusable for one that is and yet encloses
    nothing: a point, a line of fewer than 3 points, a radius of 0, a number that is not finite.
    """
    name = need(shape, "name", where, str)
    if name not in _SHAPES:
        raise DataError(f"{where}: {unknown('shape', name, _SHAPES)}")
    return _SHAPES[name](shape, where)


def _polygon(shape: Any, where: str) -> Outline:
    xs, ys = _numbers(shape, "all_points_x", where), _numbers(shape, "all_points_y", where)
    if len(xs) != len(ys) or not xs:
        raise DataError(f"{where} has {len(xs)} x for {len(ys)} y")
    box = [min(xs), min(ys), max(xs), max(ys)]
    return box, [v for point in zip(xs, ys, strict=True) for v in point]


def _polyline(shape: Any, where: str) -> Outline:
    """Closed: many outlines are drawn with this tool. A line back and forth encloses nothing."""
    box, polygon = _polygon(shape, where)
    points = len(set(zip(polygon[0::2], polygon[1::2], strict=True)))
    if points < 3:
        raise InvalidEntryError("no_area", f"a line of {points} different points encloses nothing")
    return box, polygon


def _rect(shape: Any, where: str) -> Outline:
    x, y, width, height = (_number(shape, key, where) for key in ("x", "y", "width", "height"))
    right, lower = x + width, y + height
    return [x, y, right, lower], [x, y, right, y, right, lower, x, lower]


def _circle(shape: Any, where: str) -> Outline:
    cx, cy, r = (_number(shape, key, where) for key in ("cx", "cy", "r"))
    return _ellipse_outline(cx, cy, r, r, 0.0)


def _ellipse(shape: Any, where: str) -> Outline:
    cx, cy, rx, ry = (_number(shape, key, where) for key in ("cx", "cy", "rx", "ry"))
    theta = _number(shape, "theta", where) if "theta" in shape else 0.0
    return _ellipse_outline(cx, cy, rx, ry, theta)


def _point(shape: Any, where: str) -> Outline:
    raise InvalidEntryError("no_area", "a point has no area")


_SHAPES = {
    "polygon": _polygon,
    "rect": _rect,
    "circle": _circle,
    "ellipse": _ellipse,
    "polyline": _polyline,
    "point": _point,
}


def _ellipse_outline(cx: float, cy: float, rx: float, ry: float, theta: float) -> Outline:
    """The exact box, and a polygon of points on the ellipse.

    The polygon lies inside, so the share of the area that it misses is 1 - IoU: 0.3 % with 48 points, less with
    more. Large ellipses have as many as keep the chords within 0.1 px of the arc: 222 at a radius of 1000 px.
    """
    if min(rx, ry) <= 0:
        raise InvalidEntryError("no_area", f"a radius of {min(rx, ry):g} encloses nothing")
    cos, sin = math.cos(theta), math.sin(theta)
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    count = math.ceil(min(max(48.0, math.pi * math.sqrt(5 * max(rx, ry))), 1000.0))
    polygon = []
    for i in range(count):
        along, across = rx * math.cos(math.tau * i / count), ry * math.sin(math.tau * i / count)
        polygon += [cx + along * cos - across * sin, cy + along * sin + across * cos]
    return [cx - half_width, cy - half_height, cx + half_width, cy + half_height], polygon


def _number(shape: Any, key: str, where: str) -> float:
    return _finite(need(shape, key, where), f"{where}: '{key}'")


def _numbers(shape: Any, key: str, where: str) -> list[float]:
    return [_finite(value, f"{where}: '{key}' has a point that") for value in need(shape, key, where, list)]


def _finite(value: Any, what: str) -> float:
    """``value`` as a float; DataError where it is no number, Unusable where it is none that has a place."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{what} is {str(value)[:60]!r}, it should be a number")
    try:
        number = float(value)
    except OverflowError:  # JSON allows whole numbers of any length
        number = math.inf
    if not math.isfinite(number):
        raise InvalidEntryError("not_finite", f"{number} is no place in an image")
    return number
