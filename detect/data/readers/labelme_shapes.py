"""The shapes of labelme as boxes, outlines and run-length codes.

Format: https://github.com/wkentaro/labelme; all is in absolute pixels, y down. What each shape's points are:

- polygon, also where no type is written; oriented_rectangle, and rotation as X-AnyLabeling calls it: the outline,
- rectangle: two opposite corners in any order, or all four,
- circle: the middle and a point on the rim,
- mask: the upper left and the lower right pixel of a PNG that is 0 where the object is not.

Lines and points enclose nothing.
"""

from __future__ import annotations

import base64
import math
from io import BytesIO
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from detect.data.readers.via_shapes import outline
from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS
from detect.structures import masks
from detect.structures.masks import Rle
from detect.text import unknown

_ENCLOSE_NOTHING = ("line", "linestrip", "point", "points")
_APART_PX = 2  # corners are rounded, and the last pixel is counted in by some and not by others
Drawn = tuple[list[float] | None, list[float] | Rle]  # box xyxy, unless the pixels say; polygon or run-length code


class Shape(msgspec.Struct):
    """A shape as it is written. points: x, y.  mask: a PNG in base64."""

    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None
    group_id: int | float | str | None = None
    mask: str | None = None


def typed(entry: Any) -> Shape:
    """An entry of ``shapes`` with its label on one line; Unusable says what is not as labelme writes it."""
    try:
        shape = msgspec.convert(entry, Shape)
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed", str(problem)) from None
    shape.label = " ".join(shape.label.split())
    if not shape.label:
        raise InvalidEntryError("malformed", "it has no label")
    return shape


def draw(shape: Shape, image_hw: tuple[int, int]) -> Drawn:
    """What a shape covers on an image of ``image_hw``, (0, 0) where nobody knows; Unusable where that is nothing."""
    kind = shape.shape_type or "polygon"
    if kind in _ENCLOSE_NOTHING:
        raise InvalidEntryError("malformed", f"its type is {kind}, which encloses nothing")
    if kind not in _SHAPES:
        raise InvalidEntryError("malformed", unknown("shape", kind[:60], (*_SHAPES, *_ENCLOSE_NOTHING)))
    if not all(map(math.isfinite, chain(*shape.points))):
        raise InvalidEntryError("not_finite", f"{str(shape.points)[:60]} are no places in an image")
    return _SHAPES[kind](shape, image_hw)


def _polygon(shape: Shape, _: tuple[int, int]) -> Drawn:
    if len(shape.points) < 3:
        raise InvalidEntryError("few_points", str(len(shape.points)))
    return _outline(shape.points)


def _rectangle(shape: Shape, image_hw: tuple[int, int]) -> Drawn:
    if len(shape.points) == 4:
        return _polygon(shape, image_hw)
    (left, right), (upper, lower) = _sides(shape, "two or four corners")
    return _outline([(left, upper), (right, upper), (right, lower), (left, lower)])


def _circle(shape: Shape, _: tuple[int, int]) -> Drawn:
    if len(shape.points) != 2:
        raise InvalidEntryError("malformed", f"a circle has two points, the middle and one on the rim, not {len(shape.points)}")
    middle, rim = shape.points
    return outline({"name": "circle", "cx": middle[0], "cy": middle[1], "r": math.dist(middle, rim)}, "")


def _mask(shape: Shape, image_hw: tuple[int, int]) -> Drawn:
    (left, right), (upper, lower) = _sides(shape, "two corners")
    crop = _bitmap(shape.mask or "", (lower - upper, right - left))
    height, width = image_hw
    if not 0 < height * width <= MAX_PIXELS:
        raise InvalidEntryError("bad_mask", f"it lies on an image of {width}x{height} pixels")
    x, y = round(left), round(upper)
    inside = crop[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    if not inside.size:
        raise InvalidEntryError("outside", f"({left:g}, {upper:g}, {right:g}, {lower:g})")
    if not inside.any():
        raise InvalidEntryError("no_area", "a mask without a pixel")
    return None, masks.from_pasted(inside, (max(x, 0), max(y, 0)), image_hw)


_SHAPES = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "rotation": _polygon,
    "circle": _circle,
    "mask": _mask,
}


def _outline(points: list[tuple[float, float]]) -> Drawn:
    """The polygon and its box, as VIA's is read."""
    xs, ys = map(list, zip(*points, strict=True))
    return outline({"name": "polygon", "all_points_x": xs, "all_points_y": ys}, "")


def _sides(shape: Shape, wanted: str) -> tuple[list[float], list[float]]:
    """(left, right), (upper, lower) of two opposite corners."""
    if len(shape.points) != 2:
        raise InvalidEntryError("malformed", f"a {shape.shape_type} has {wanted}, not {len(shape.points)}")
    xs, ys = zip(*shape.points, strict=True)
    return sorted(xs), sorted(ys)


def _bitmap(png: str, box_hw: tuple[float, float]) -> np.ndarray:
    """The pixels of a mask, bool [h, w]; Unusable unless it is a gray PNG that fits its box, before it is unpacked."""
    try:
        with Image.open(BytesIO(base64.b64decode(png)), formats=["PNG"]) as image:
            if max(abs(image.height - box_hw[0]), abs(image.width - box_hw[1])) > _APART_PX:
                size = f"{image.width}x{image.height} pixels"
                raise InvalidEntryError("bad_mask", f"its PNG has {size}, its box {box_hw[1]:g}x{box_hw[0]:g}")
            bitmap = np.asarray(image)
    except InvalidEntryError:
        raise
    except UnidentifiedImageError:
        raise InvalidEntryError("bad_mask", "its mask is no PNG") from None
    except Exception as error:  # Pillow lets through whatever a damaged file makes it stumble over
        raise InvalidEntryError("bad_mask", f"its mask is a damaged PNG: {error}") from None
    if bitmap.ndim != 2:
        raise InvalidEntryError("bad_mask", "its PNG is in color; it should be 0 where the object is not")
    return bitmap != 0
