"""A line across the frames of a video, and the detection of objects that cross it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite

from detect.errors import UsageError

Point = tuple[float, float]  # x, y

_MARGIN = 0.05  # fraction of the size of an object: closer to the line than this, its center is on neither side


@dataclass(frozen=True)
class CountLine:
    """A line between two points, in pixels of the first frame of a video.

    Objects cross a line that is more horizontal than vertical "down" or "up", any other one "left" or "right"; the
    order of the points makes no difference. Raises UsageError if the points are equal or not finite.
    """

    start: Point
    end: Point

    def __post_init__(self) -> None:
        if not all(map(isfinite, (*self.start, *self.end))) or self.start == self.end:
            raise UsageError(f"`count_line={self}` must be two different points x1,y1,x2,y2 in pixels")

    @classmethod
    def parse(cls, text: str) -> CountLine:
        """Return the line of a text such as ``"0,180,640,180"``. Raises UsageError for any other text."""
        try:
            x0, y0, x1, y1 = map(float, text.split(","))
        except ValueError:
            raise UsageError(
                f"`count_line={text!r}` must be four numbers x1,y1,x2,y2 in pixels, such as 0,180,640,180"
            ) from None
        return cls((x0, y0), (x1, y1))

    def __str__(self) -> str:
        return ",".join(f"{value:g}" for value in (*self.start, *self.end))

    @property
    def directions(self) -> tuple[str, str]:
        """Names of the directions of crossing: to the side where ``distance`` is positive, and to the other one."""
        dx, dy = self.end[0] - self.start[0], self.end[1] - self.start[1]
        if abs(dx) >= abs(dy):
            return ("down", "up") if dx > 0 else ("up", "down")
        return ("left", "right") if dy > 0 else ("right", "left")

    def distance(self, point: Point) -> float:
        """Return the distance in pixels of a point from the line, extended beyond its ends; negative on one side."""
        return _cross(self.start, self.end, point) / hypot(self.end[0] - self.start[0], self.end[1] - self.start[1])

    def is_between(self, a: Point, b: Point) -> bool:
        """Return whether the segment from ``a`` to ``b`` crosses the line between its ends."""
        on_both_sides = self.distance(a) * self.distance(b) < 0
        return on_both_sides and _cross(a, b, self.start) * _cross(a, b, self.end) <= 0

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise UsageError if the whole line lies outside of a frame of this (height, width)."""
        height, width = image_hw
        sides = [self.distance((x, y)) for x in (0, width) for y in (0, height)]
        (x0, y0), (x1, y1) = self.start, self.end
        beside = max(x0, x1) < 0 or min(x0, x1) > width or max(y0, y1) < 0 or min(y0, y1) > height
        if beside or min(sides) > 0 or max(sides) < 0:
            raise UsageError(
                f"`count_line={self}` is outside of the frames, which have {width}x{height} pixels (width x height)"
            )


class LineCounter:
    """Detects when the center of an object crosses a line.

    Small movements on the line do not count: the center must be on one side and then on the other by more than 5 % of
    the size of the object (square root of the area of its box).
    """

    def __init__(self, line: CountLine) -> None:
        self.line = line
        self._former: dict[int, Point] = {}  # track id -> last center that was clearly on one side

    def add(self, track_id: int, box: Sequence[float]) -> str | None:
        """Return the direction if the object has crossed the line since its previous box, else None.

        box: xyxy in pixels of the first frame.
        """
        x0, y0, x1, y1 = map(float, box)
        center = ((x0 + x1) / 2, (y0 + y1) / 2)
        distance = self.line.distance(center)
        if abs(distance) <= _MARGIN * ((x1 - x0) * (y1 - y0)) ** 0.5:
            return None
        former = self._former.get(track_id, center)
        self._former[track_id] = center
        if not self.line.is_between(former, center):
            return None
        positive, negative = self.line.directions
        return positive if distance > 0 else negative


def _cross(a: Point, b: Point, c: Point) -> float:
    """Return the cross product of the vectors from ``a`` to ``b`` and from ``a`` to ``c``."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
