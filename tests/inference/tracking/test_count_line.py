"""The count line: who crosses it, in which direction, and the messages for wrong lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detect.errors import UsageError
from detect.inference.tracking.count_line import CountLine, LineCounter

Way = list[tuple[float, float]]


def crossings(line: str, *ways: Way, size: float = 20) -> list[str]:
    """Return the directions in which objects cross that move along ``ways`` of (x, y), one object after the other."""
    counter = LineCounter(CountLine.parse(line))
    found = []
    for number, way in enumerate(ways, start=1):
        found += [counter.add(number, (x - size / 2, y - size / 2, x + size / 2, y + size / 2)) for x, y in way]
    return [direction for direction in found if direction]


@pytest.mark.parametrize(
    ("line", "way", "direction"),
    [
        ("0,50,100,50", [(50, 10), (50, 90)], "down"),
        ("0,50,100,50", [(50, 90), (50, 10)], "up"),
        ("50,0,50,100", [(10, 50), (90, 50)], "right"),
        ("50,0,50,100", [(90, 50), (10, 50)], "left"),
        ("0,40,100,60", [(20, 10), (30, 90)], "down"),
        ("40,0,60,100", [(90, 20), (10, 80)], "left"),
    ],
)
def test_direction_of_a_crossing_does_not_depend_on_the_order_of_the_points(line, way, direction):
    x0, y0, x1, y1 = line.split(",")
    assert crossings(line, way) == crossings(f"{x1},{y1},{x0},{y0}", way) == [direction]


@given(st.floats(1, 99), st.floats(1, 99), st.integers(2, 50))
def test_an_object_that_passes_is_counted_once_however_many_frames_it_takes(x0, x1, frames):
    way = [(x0 + (x1 - x0) * i / frames, 100 * i / frames) for i in range(frames + 1)]
    assert crossings("0,51,100,51", way) == ["down"]
    assert crossings("0,51,100,51", way[::-1]) == ["up"]


def test_an_object_that_passes_beside_the_line_is_not_counted():
    assert crossings("0,50,100,50", [(130, 10), (130, 90)]) == []
    assert crossings("0,50,100,50", [(50, 10), (150, 10), (150, 90), (50, 90)]) == [], "around its end"


def test_an_object_that_trembles_on_the_line_is_not_counted():
    trembling = [(50, 50 + shift) for shift in (-0.9, 0.9) * 10]
    assert crossings("0,50,100,50", trembling) == []
    assert crossings("0,50,100,50", [(50, 10), *trembling, (50, 10)]) == []
    assert crossings("0,50,100,50", [(50, 10), *trembling, (50, 90)]) == ["down"]


def test_an_object_that_comes_back_is_counted_in_both_directions():
    assert crossings("0,50,100,50", [(50, 10), (50, 90), (50, 10)], [(20, 90), (20, 10)]) == ["down", "up", "up"]


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1;2;3;4", "5,5,5,5", "0,0,nan,4", "0,0,inf,4"])
def test_a_line_that_is_not_four_numbers_is_refused(text):
    with pytest.raises(UsageError, match="x1,y1,x2,y2"):
        CountLine.parse(text)


@pytest.mark.parametrize("text", ["0,500,640,500", "-10,0,-10,300", "0,-1,640,-200", "700,0,800,300", "0,400,640,700"])
def test_a_line_outside_of_the_frames_is_refused(text):
    with pytest.raises(UsageError, match="640x360"):
        CountLine.parse(text).check_inside((360, 640))


@pytest.mark.parametrize(
    "text", ["0,180,640,180", "-100,-100,900,500", "0,0,640,360", "639,-5,639,10", "580,-50,700,70"]
)
def test_a_line_that_is_partly_inside_of_the_frames_is_accepted(text):
    CountLine.parse(text).check_inside((360, 640))
