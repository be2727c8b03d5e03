"""Boxes, polygons and brush masks of Label Studio's results.

Format: https://labelstud.io/guide/task_format, and https://labelstud.io/tags/ for each type of labels. Coordinates are
percent of the image as the browser shows it, that is with its EXIF orientation:

- rectangle: ``x y width height`` and ``rotation``, in degrees clockwise around the upper left corner,
- ellipse: center ``x y``, radii ``radiusX radiusY`` and ``rotation`` around the center,
- polygon: ``points``, pairs of x and y,
- brush: ``rle``, see ``decode_brush``.

Keypoints have no area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from detect.data.readers.geometry import Geometry, from_vertices
from detect.data.readers.parsing import json_number
from detect.data.readers.via_shapes import box_and_polygon
from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS
from detect.structures import masks
from detect.structures.polygons import rotated_rectangle


def shape_geometry(value: Mapping[str, Any], image_hw: tuple[int, int], original_hw: tuple[int, int]) -> Geometry:
    """Return what a shape covers, in absolute pixels. Raises InvalidEntryError if that is nothing.

    value: the ``value`` of a result.
    image_hw: (height, width) of the image as seen, in pixels.
    original_hw: the size that the result states, which is the size of a brush mask.
    """
    if "points" in value:
        return _polygon(value, image_hw)
    if "radiusX" in value:
        return _ellipse(value, image_hw)
    if "rle" in value:
        if image_hw != original_hw:
            raise InvalidEntryError("rle_size_mismatch", f"{original_hw}, the image has {image_hw} (h, w)")
        bitmap = decode_brush(value["rle"], original_hw)
        if not bitmap.any():
            raise InvalidEntryError("zero_area_box", "the mask is empty")
        return Geometry(None, masks.from_bitmap(bitmap))
    return _rectangle(value, image_hw)


def decode_brush(rle: Any, image_hw: tuple[int, int]) -> np.ndarray:
    """Return a brush mask, bool [H, W]. Raises InvalidEntryError if it is invalid or of another size.

    ``rle`` is a list of bytes, a stream of bits with the highest bit of each byte first. It begins with the number of
    values (32 bits), the bits per value minus 1 (5 bits), and 4 widths minus 1 (4 bits each). Then runs follow: 1 bit
    that says whether all values of the run are equal, 2 bits that select a width, the length of the run minus 1 in
    that width, and one value, or as many as the run is long. The values are R, G, B and alpha of each pixel, row by
    row; alpha is not 0 inside the mask. Source: https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack,
    as Label Studio uses it.
    """
    height, width = image_hw
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(list(rle)))  # bytes(n) of a number would be n zeros
    except (TypeError, ValueError):
        raise InvalidEntryError("invalid_mask", "its rle is not a list of bytes") from None
    position = 0

    def number(size: int) -> int:
        nonlocal position
        position += size
        if position > len(bits):
            raise InvalidEntryError("invalid_mask", "its rle is truncated")
        return int(bits[position - size : position], 2)

    count, value_bits = number(32), number(5) + 1
    if count != 4 * height * width or not 0 < height * width <= MAX_PIXELS:
        raise InvalidEntryError(
            "invalid_mask", f"its rle has {count} values, not 4 for each of {width}x{height} pixels"
        )
    widths = [number(4) + 1 for _ in range(4)]
    values = np.zeros(count, bool)
    start = 0
    while start < count:
        same = number(1)
        end = start + 1 + number(widths[number(2)])
        if same:
            values[start:end] = number(value_bits) != 0
        else:
            for index in range(start, min(end, count)):
                values[index] = number(value_bits) != 0
        start = end
    return values.reshape(height, width, 4)[:, :, 3]


def _rectangle(value: Mapping[str, Any], image_hw: tuple[int, int]) -> Geometry:
    x, y, width, height = _pixels(value, ("x", "y", "width", "height"), image_hw)
    degrees = _number(value.get("rotation") or 0, "rotation")
    if not degrees % 360:
        right, lower = x + width, y + height
        return Geometry([x, y, right, lower], [[x, y, right, y, right, lower, x, lower]], is_box=True)
    if width <= 0 or height <= 0:
        raise InvalidEntryError("zero_area_box", f"{width:g}x{height:g} pixels")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    center = (x + (width * cos - height * sin) / 2, y + (width * sin + height * cos) / 2)
    box, polygon = rotated_rectangle(center, (width, height), degrees)
    return Geometry(box, [polygon], is_box=True, is_rotated=degrees % 90 != 0)


def _ellipse(value: Mapping[str, Any], image_hw: tuple[int, int]) -> Geometry:
    cx, cy, rx, ry = _pixels(value, ("x", "y", "radiusX", "radiusY"), image_hw)
    theta = math.radians(_number(value.get("rotation") or 0, "rotation"))
    ellipse = {"name": "ellipse", "cx": cx, "cy": cy, "rx": rx, "ry": ry, "theta": theta}
    box, polygon = box_and_polygon(ellipse, "ellipse")
    return Geometry(box, [polygon])


def _polygon(value: Mapping[str, Any], image_hw: tuple[int, int]) -> Geometry:
    points = value["points"]
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise InvalidEntryError("malformed_object", f"points are {str(points)[:60]}; expected pairs of x and y")
    if len(points) < 3:
        raise InvalidEntryError("too_few_points", str(len(points)))
    height, width = image_hw
    xs = [_number(x, "a coordinate") * width / 100 for x, _ in points]
    ys = [_number(y, "a coordinate") * height / 100 for _, y in points]
    box, polygon = from_vertices(xs, ys)
    return Geometry(box, [polygon])


def _pixels(value: Mapping[str, Any], keys: tuple[str, str, str, str], image_hw: tuple[int, int]) -> list[float]:
    """Return four percentages, of the width and of the height by turns, in pixels."""
    height, width = image_hw
    return [_number(value.get(key), key) * side / 100 for key, side in zip(keys, (width, height) * 2, strict=True)]


def _number(value: Any, key: str) -> float:
    if (number := json_number(value)) is None:
        raise InvalidEntryError("malformed_object", f"{key} is {str(value)[:60]!r}; expected a number")
    if not math.isfinite(number):
        raise InvalidEntryError("non_finite_box", f"{key} is {number}")
    return number
