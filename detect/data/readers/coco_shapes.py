"""Boxes and masks of COCO annotations, also in the variants that programs other than COCO's own write.

- ``bbox`` is [x, y, width, height] in pixels from 0. An empty list, null, and zeros beside a mask mean that it is not
  annotated. Numbers may be text.
- ``segmentation`` is a list of polygons, each a flat list [x0, y0, x1, y1, ...], or a run-length encoding. One flat
  list, and polygons as lists of points [[x0, y0], [x1, y1], ...] or [{"x": x0, "y": y0}, ...], are read too, also with
  more brackets around them. Empty polygons are ignored.
- ``attributes.rotation`` is the clockwise rotation of ``bbox`` around its center in degrees, as CVAT exports it
  (https://docs.cvat.ai/docs/manual/advanced/formats/format-coco/).
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detect.data.readers.geometry import box_outline
from detect.data.unvalidated_split import InvalidEntryError
from detect.structures import masks
from detect.structures.masks import Polygons, Rle
from detect.structures.polygons import rotated_rectangle

_RECTANGLE_TOLERANCE_PX = 1.0

_decode_polygons = msgspec.json.Decoder(list[list[float]]).decode


class Shape(NamedTuple):
    """What an annotation covers, in absolute pixels.

    Attributes:
        box: xyxy, or None if only the mask is annotated.
        mask: polygons, RLE or None.
        mask_from_box: bool, whether the mask is the outline of the box, upright or rotated.
        note: kind of what was read otherwise than written, or "".
    """

    box: tuple[float, ...] | None
    mask: Polygons | Rle | None
    mask_from_box: bool = False
    note: str = ""


def read_shape(bbox: tuple[float, float, float, float] | None, segmentation: msgspec.Raw, attributes: Any) -> Shape:
    """Return what an annotation covers.

    bbox: [x, y, width, height] as written.  segmentation: JSON.  attributes: as written.
    Raises InvalidEntryError if it covers nothing or cannot be understood.
    """
    mask = read_mask(segmentation)
    box = None
    if bbox is not None and not (mask and bbox[2] == bbox[3] == 0):
        x, y, w, h = bbox
        box = (x, y, x + w, y + h)
        if not math.isfinite(sum(box)):
            raise InvalidEntryError("non_finite_box", f"bbox {list(bbox)}")
    if box is None and mask is None:
        raise InvalidEntryError("malformed_object", "neither a box nor a mask")
    degrees = _rotation(attributes) if attributes else 0.0
    if box is not None and degrees % 360 and (mask is None or _is_outline(mask, box)):
        hull, polygon = rotated_rectangle(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), bbox[2:], degrees)  # type: ignore[index]
        return Shape(tuple(hull), [polygon], mask_from_box=True, note="rotated_box")
    if box is not None and isinstance(mask, list) and not _has_area(mask):
        return Shape(box, [box_outline(box)], mask_from_box=True, note="box_without_polygon")
    return Shape(box, mask)


def _has_area(polygons: list[list[float]]) -> bool:
    """Return whether a polygon has at least 3 points."""
    return any(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons)


def read_box(value: Any) -> Any:
    """Return ``bbox`` as four numbers, or None if it is not annotated; other values unchanged, which are malformed.

    Raises InvalidEntryError for a rotated box of five numbers, because programs disagree about their meaning.
    """
    if isinstance(value, str):  # "[10, 5, 20, 15]", from a table
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if not value:
        return None
    if isinstance(value, list) and len(value) == 5:
        raise InvalidEntryError(
            "malformed_object",
            f"bbox has 5 numbers, {str(value)[:60]}: a rotated box, whose convention is unknown; export its polygon",
        )
    return [_number(number) for number in value] if isinstance(value, list) else value


def read_mask(text: msgspec.Raw) -> Polygons | Rle | None:
    """Return polygons, a compressed RLE, or None. Raises InvalidEntryError for anything else."""
    try:
        polygons = _decode_polygons(text)
        if not polygons or min(map(len, polygons)) > 2:  # COCO writes [] for an object without a mask
            return polygons or None
    except ValueError:
        pass
    try:
        segmentation = json.loads(bytes(text))
    except (ValueError, RecursionError):  # a number of thousands of digits, deep nesting
        raise InvalidEntryError(
            "invalid_mask", f"the segmentation is {bytes(text)[:60].decode(errors='replace')}"
        ) from None
    if isinstance(segmentation, list):
        return _polygons(segmentation) or None
    try:
        return masks.from_rle(segmentation) if segmentation else None
    except ValueError as problem:
        raise InvalidEntryError("invalid_mask", str(problem)) from None


def _polygons(segmentation: list[Any]) -> list[list[float]]:
    """Return the polygons of a list in any of the accepted forms, without empty ones."""
    while _is_wrapped(segmentation):
        segmentation = [item[0] for item in segmentation]
    if segmentation and not any(isinstance(part, list) for part in segmentation):
        segmentation = [segmentation]  # one flat list, or a list of points as dicts
    elif len(segmentation) > 2 and all(isinstance(part, list) and len(part) == 2 for part in segmentation):
        segmentation = [segmentation]  # a list of points
    return [polygon for part in segmentation if (polygon := _flat_polygon(part))]


def _is_wrapped(segmentation: list[Any]) -> bool:
    """Return whether each item is a list of one polygon; several would be an outline with holes, as in GeoJSON."""
    return bool(segmentation) and all(
        isinstance(item, list) and len(item) == 1 and isinstance(item[0], list) and len(item[0]) > 2
        for item in segmentation
    )


def _flat_polygon(points: Any) -> list[float]:
    """Return one polygon, a flat list of numbers or a list of points, as a flat list."""
    if isinstance(points, list):
        flat: list[Any] = []
        for point in points:
            if isinstance(point, dict) and {"x", "y"} <= point.keys():
                flat += [point["x"], point["y"]]
            elif isinstance(point, list):
                flat += point if len(point) == 2 else [point]
            else:
                flat.append(point)
        numbers = list(map(_number, flat))
        if all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers) and all(
            map(math.isfinite, numbers)
        ):
            return numbers
    raise InvalidEntryError("invalid_mask", "a segmentation is a list of polygons, each a flat list of finite numbers")


def _rotation(attributes: Any) -> float:
    """Return ``attributes["rotation"]`` in degrees, 0 if it is missing or not a number."""
    value = _number(attributes.get("rotation")) if isinstance(attributes, dict) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else 0.0  # type: ignore[arg-type]


def _is_outline(mask: Polygons | Rle, box: tuple[float, ...]) -> bool:
    """Return whether a mask is one polygon with the four corners of ``box``."""
    if isinstance(mask, dict) or len(mask) != 1 or len(mask[0]) not in (8, 10):
        return False
    points = np.reshape(mask[0], (-1, 2))
    x1, y1, x2, y2 = box
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    distances = np.abs(points[:, None] - corners).max(axis=2)
    return bool((distances.min(axis=0) <= _RECTANGLE_TOLERANCE_PX).all() and (distances.min(axis=1) <= 1).all())


def _number(value: Any) -> Any:
    """Return text that is a number as a float, other values unchanged."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
