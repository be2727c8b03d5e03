"""Lines of YOLO's label files: boxes, polygons, and what programs append to them.

After the class number a line holds, as fractions of the image size,

- 4 numbers: a box, its center, width and height,
- 6 or more, an even count: a polygon x0 y0 x1 y1 ...; 8 may be the corners of a rotated box,
- 4 + K x D: a box and K keypoints of D numbers, if data.yaml has ``kpt_shape: [K, D]``, or if every third number after
  the box is a flag 0, 1 or 2 in all lines of this length,
- a box and a confidence, or a confidence and a track id, as Ultralytics saves predictions,
- a polygon and a confidence, an odd count, or a polygon, a confidence and a track id.

Formats: https://docs.ultralytics.com/datasets/. A line of 6 numbers may be a triangle, a box with confidence and track
id, or a box with one keypoint; a line of 5 a box with a confidence or with an angle. The lines of up to 4,000 label
files together decide. With ``task: segment`` in data.yaml, 6 numbers or more are polygons.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detect.data.unvalidated_split import InvalidEntryError

_MIN_KEYPOINTS_EXTENT = 0.4  # of the box; the points of a polygon fill less of the "box" of its first 4 numbers
_TOLERANCE = 0.01  # of the image
_MIN_LINES = 3  # that have the third point of a triangle inside the "box" of the other two
_SEGMENT = "if they are polygons, set task: segment in data.yaml; if keypoints, kpt_shape, such as"


class Line(NamedTuple):
    """One object.

    Attributes:
        number: class number, from 0.
        box: xyxy in pixels, or None.
        polygon: [x0, y0, x1, y1, ...] in pixels, or None.
        note: kind of what was read otherwise than written, or "".
    """

    number: int
    box: list[float] | None
    polygon: list[float] | None
    note: str = ""


@dataclass(frozen=True)
class LineFormat:
    """What the lines of one dataset mean.

    Attributes:
        keypoint_counts: counts of numbers that are a box with keypoints.
        kpt_shape: whether data.yaml says so.
        refused: {count of numbers: why lines of this count are ambiguous}.
        has_track_ids: whether 6 numbers are a box with confidence and track id.
        polygons_have_track_ids: whether polygons are followed by a confidence and a track id.
        four_corners: whether 8 numbers are the corners of a box.
    """

    keypoint_counts: frozenset[int] = frozenset()
    kpt_shape: bool = False
    refused: tuple[tuple[int, str], ...] = ()
    has_track_ids: bool = False
    polygons_have_track_ids: bool = False
    four_corners: bool = False


def find_line_format(lines: Iterable[str], kpt_shape: Sequence[int] | None, task: str) -> LineFormat:
    """Return the format of the lines of a dataset.

    kpt_shape: [K, D] from data.yaml, or None.  task: from data.yaml, or "".
    """
    words_of: dict[int, list[list[str]]] = defaultdict(list)
    for line in lines:
        words = line.split()[1:]
        words_of[len(words)].append(words)
    polygon_counts = {count for count in words_of if count >= 6 and count % 2 == 0}
    four_corners = task == "obb" or polygon_counts == {8}
    if kpt_shape:
        return LineFormat(frozenset([4 + math.prod(kpt_shape)]), True, four_corners=four_corners)
    refused = {}
    if any(_is_angle(row[4]) for row in words_of.get(5, ())):
        refused[5] = "5 numbers are a rotated box, whose convention is unknown; export its four corners (task obb)"
    if task == "segment":
        return LineFormat(refused=tuple(refused.items()))
    keypoint_counts = frozenset(count for count, rows in words_of.items() if _have_visibility_flags(count, rows))
    polygons = {count: words_of[count] for count in polygon_counts - keypoint_counts}
    if len(polygons) == 1:
        ((count, rows),) = polygons.items()
        if task != "obb" and _look_like_keypoints(count, rows):
            refused[count] = (
                f"ambiguous: {count} numbers are a polygon, or a box with keypoints; {_SEGMENT}"
                f" [{(count - 4) // 2}, 2]"
            )
    has_track_ids = False
    if (six := words_of.get(6)) and (len(polygons) == 1 or words_of.keys() & {4, 5}):
        with_id = sum(map(_has_track_id, six))
        has_track_ids = with_id == len(six)
        if with_id and not has_track_ids:
            refused[6] = (
                "ambiguous: 6 numbers are a triangle, or a box with confidence and track id; if they are triangles, "
                "set task: segment in data.yaml"
            )
    return LineFormat(
        keypoint_counts,
        refused=tuple(refused.items()),
        has_track_ids=has_track_ids,
        polygons_have_track_ids=_end_with_track_ids(
            row for count in polygons if count >= 8 for row in words_of[count]
        ),
        four_corners=four_corners,
    )


def parse_line(text: str, image_hw: tuple[int, int], num_classes: int, form: LineFormat) -> Line:
    """Return the object of a line. Raises InvalidEntryError.

    image_hw: (height, width) in pixels.
    """
    words = text.split()
    try:
        number, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InvalidEntryError("malformed_object", _why_not_numbers(text)) from None
    if not number.is_integer() or not 0 <= number < num_classes:
        raise InvalidEntryError("unknown_class", f"{words[0]}, classes are 0 to {num_classes - 1}")
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("non_finite_box", text[:60])
    count = len(values)
    if reason := dict(form.refused).get(count):
        raise InvalidEntryError("malformed_object", reason)
    if max(map(abs, values[:4]), default=0) > 2 and count == 4:
        raise InvalidEntryError("box_outside_image", f"{text[:60]}: pixels? expected fractions of the image size")
    note, kind = _meaning(values, form)
    if note is None:
        short = "too_few_points" if count == 2 else "malformed_object"
        raise InvalidEntryError(short, f"{count} numbers after the class; {kind}")
    height, width = image_hw
    if kind == "box":
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return Line(int(number), [x - w / 2, y - h / 2, x + w / 2, y + h / 2], None, note)
    if note == "extra_columns":
        values = values[: count - (count % 2 or 2)]
    polygon = [value * (height if i % 2 else width) for i, value in enumerate(values)]
    xs, ys = polygon[0::2], polygon[1::2]
    box = [min(xs), min(ys), max(xs), max(ys)] if note == "corner_label" else None
    return Line(int(number), box, polygon, note)


def _meaning(values: Sequence[float], form: LineFormat) -> tuple[str | None, str]:
    """Return the kind of note, "" for none, and "box" or "polygon"; (None, what is expected) for another count."""
    count = len(values)
    if count == 4:
        return "", "box"
    if count in form.keypoint_counts:
        return "keypoints", "box"
    if form.kpt_shape:
        (expected,) = form.keypoint_counts
        if count - expected in (1, 2) and 0 <= values[expected] <= 1:  # a confidence, and maybe a track id
            return "keypoints", "box"
        return None, f"a box has 4, a box with keypoints {expected}, as kpt_shape in data.yaml says"
    if (count == 6 and form.has_track_ids) or (count == 5 and not _is_angle(values[4])):
        return "extra_columns", "box"
    if count >= 8 and count % 2 == 0 and form.polygons_have_track_ids:
        return "extra_columns", "polygon"
    if count >= 6 and count % 2 == 0:
        return ("corner_label" if count == 8 and form.four_corners else ""), "polygon"
    if count >= 7 and 0 <= values[-1] <= 1:
        return "extra_columns", "polygon"
    return None, "a box has 4, a polygon an even number of at least 6"


def _why_not_numbers(text: str) -> str:
    """Return why a line is not a row of numbers."""
    words = text.split()
    if len(words) >= 5 and _numbers(words[1:]) is not None:
        return f"{text[:60]!r} begins with a name; expected the number of the class"
    return f"{text[:60]!r} is not a row of numbers"


def _numbers(words: Sequence[str]) -> list[float] | None:
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _have_visibility_flags(count: int, rows: Sequence[Sequence[str]]) -> bool:
    """Return whether all rows are a box and keypoints of 3 numbers, the last of them 0, 1 or 2."""
    if count < 7 or (count - 4) % 3:
        return False
    numbers = [_numbers(row) for row in rows]
    flags = {value for row in numbers if row is not None for value in row[6::3]}
    return None not in numbers and bool(flags) and flags <= {0, 1, 2}


def _is_angle(value: str | float) -> bool:
    """Return whether the fifth number of a line is neither a confidence nor a track id."""
    try:
        number = float(value)
    except ValueError:
        return False
    return number < 0 or (number > 1 and not number.is_integer())


def _look_like_keypoints(count: int, rows: Sequence[Sequence[str]]) -> bool:
    """Return whether in all rows the numbers after the first four are points that fill the box of those four.

    A single point fills nothing, so it must be in the box in several rows. Four points that are all corners of
    rectangles are no keypoints.
    """
    if count == 6 and len(rows) < _MIN_LINES:
        return False
    corners = []
    for row in rows:
        numbers = _numbers(row)
        if numbers is None:
            return False
        x, y, w, h = numbers[:4]
        points = np.reshape(numbers[4:], (-1, 2))
        low, high = points.min(axis=0), points.max(axis=0)
        center, half = np.array([x, y]), np.array([w, h]) / 2
        if half.min() <= 0 or (np.maximum(high - center, center - low) > half + _TOLERANCE).any():
            return False
        if count > 6 and ((high - low) / (w, h)).mean() < _MIN_KEYPOINTS_EXTENT:
            return False
        first, second, third, fourth = np.reshape(numbers[:8], (-1, 2)) if count == 8 else np.zeros((4, 2))
        corners.append(count == 8 and bool((abs(first + third - second - fourth) < 2 * _TOLERANCE).all()))
    return not all(corners)


def _has_track_id(words: Sequence[str]) -> bool:
    """Return whether 6 numbers look like a box inside the image, a confidence and a whole number as track id."""
    numbers = _numbers(words)
    if numbers is None or not words[5].isdecimal():
        return False
    x, y, w, h, confidence, _ = numbers
    inside = min(x - w / 2, y - h / 2) >= -_TOLERANCE and max(x + w / 2, y + h / 2) <= 1 + _TOLERANCE
    return inside and w > 0 and h > 0 and 0 <= confidence <= 1


def _end_with_track_ids(rows: Iterable[Sequence[str]]) -> bool:
    """Return whether all rows end with a confidence and a whole number, of which some are no fractions."""
    whole = False
    for row in rows:
        confidence = _numbers(row[-2:-1])
        if not row[-1].isdecimal() or not confidence or not 0 <= confidence[0] <= 1:
            return False
        whole |= int(row[-1]) > 1
    return whole
