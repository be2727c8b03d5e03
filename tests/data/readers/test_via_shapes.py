"""VIA's shapes: each covers its area, and shapes without area are skipped."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.via_files import (
    BITMAP,
    CIRCLE,
    ELLIPSE,
    HW,
    LINE,
    RECT,
    bitmap_of,
    entries,
    one_warning,
    reader,
    region,
    shaped,
    write_images,
)

from detect.data.readers.via_shapes import box_and_polygon

NAN, INF = math.nan, math.inf


@pytest.fixture
def read(tmp_path: Path) -> Callable:
    return reader(write_images(tmp_path))


@pytest.mark.parametrize("r", [2, 7.5, 31, 150, 1000])
@pytest.mark.parametrize("ratio", [1, 0.3])
def test_circles_and_ellipses_keep_their_area(r, ratio):
    """The polygon lies inside the shape, so 1 - IoU is the fraction of the area that it misses."""
    circle = {"name": "circle", "cx": 5000, "cy": 5000, "r": r}
    ellipse = {"name": "ellipse", "cx": 5000, "cy": 5000, "rx": r, "ry": r * ratio, "theta": 0.7}
    for shape, area in ((circle, math.pi * r * r), (ellipse, math.pi * r * r * ratio)):
        box, polygon = box_and_polygon(shape, "here")
        x, y = np.array(polygon).reshape(-1, 2).T - 5000
        inside = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
        assert 0.995 * area < inside <= area
        np.testing.assert_allclose([x.min(), y.min(), x.max(), y.max()], np.array(box) - 5000, atol=0.01 * r)
        middle = (np.array([x, y]) + np.roll([x, y], -1, axis=1)) / 2
        if shape is circle:
            assert r - np.hypot(*middle).min() < 0.11


@pytest.mark.parametrize("theta", [0, 0.5, -1.2, math.pi / 2, 9])
def test_ellipse_is_rotated_as_in_the_browser(read, theta):
    """Radians, clockwise on the screen: a pixel is inside if its position, rotated back, is in the upright ellipse."""
    _, (_, b) = read(entries(shaped(ELLIPSE, theta=theta)), ["egg"])
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    along = (x - 30) * math.cos(theta) + (y - 20) * math.sin(theta)
    across = (y - 20) * math.cos(theta) - (x - 30) * math.sin(theta)
    ground_truth = (along / 15) ** 2 + (across / 5) ** 2 <= 1
    found = bitmap_of(b).astype(bool)
    assert (found & ground_truth).sum() / (found | ground_truth).sum() > 0.93  # pixels on the edge go either way
    rows, columns = np.flatnonzero(ground_truth.any(1)), np.flatnonzero(ground_truth.any(0))
    np.testing.assert_allclose(b.boxes[0], [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1)


def test_ellipses_of_version_1_are_upright_and_lines_are_closed(read, capsys):
    _, (_, b) = read(entries(shaped(ELLIPSE, theta=None), region(CIRCLE), region(LINE), version=1), ["kite"])
    assert b.boxes.tolist() == [[15, 15, 45, 25], [20, 10, 40, 30], [10, 5, 30, 20]]
    np.testing.assert_array_equal(bitmap_of(b, 2), BITMAP)
    assert "ground truth.json: 1 polyline " in one_warning(capsys)


def test_shapes_may_extend_beyond_the_image(read):
    _, (_, b) = read(entries(shaped(CIRCLE, cx=0, cy=0, r=20), shaped(RECT, x=50, width=30)), ["kite"])
    assert b.boxes.tolist() == [[-20, -20, 20, 20], [50, 5, 80, 20]]
    assert b.areas[0] == pytest.approx(math.pi * 100, rel=0.03) and b.areas[1] == 150


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (region({"name": "point", "cx": 3, "cy": 4}), "a point has no area"),
        (shaped(LINE, all_points_x=[1, 9], all_points_y=[1, 9]), "a line of 2 different points"),
        (shaped(LINE, all_points_x=[1, 9, 1], all_points_y=[1, 9, 1]), "a line of 2 different points"),
    ],
)
def test_points_and_lines_are_left_out_with_a_note(read, capsys, bad, said):
    _, (_, b) = read(entries(region(), bad, bad, bad), ["kite"])
    assert b.annotation_ids.tolist() == [1]
    assert f"3 left out (b.png, region 2: {said}" in one_warning(capsys)


def test_rectangles_alone_are_boxes_and_get_masks_beside_other_shapes(read):
    _, (_, b) = read(entries(region(RECT), region(RECT)), ["kite"])
    assert b.boxes.tolist() == [[10, 5, 30, 20]] * 2 and b.masks is None and b.areas.tolist() == [300, 300]
    _, (_, b) = read(entries(region(RECT), region(CIRCLE)), ["kite"])
    np.testing.assert_array_equal(bitmap_of(b), BITMAP)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (shaped(all_points_x=[1, 9], all_points_y=[1, 9]), "2"),
        (shaped(all_points_x=[1, NAN, 3], all_points_y=[1, 2, 3]), "nan is not finite"),
        (shaped(all_points_x=[1, INF, 3], all_points_y=[1, 2, 3]), "inf is not finite"),
        (shaped(RECT, width=0), r"\(10, 5, 10, 20\)"),
        (shaped(RECT, x=70), r"\(70, 5, 90, 20\)"),
        (shaped(RECT, x=10**400), "inf is not finite"),
        (shaped(RECT, width=1e30), r"1e\+30"),
        (shaped(CIRCLE, r=0), "a radius of 0 gives no area"),
        (shaped(CIRCLE, r=-2), "a radius of -2 gives no area"),
        (shaped(CIRCLE, r=1e308), r"1e\+308"),
        (shaped(ELLIPSE, theta=NAN), "nan is not finite"),
    ],
)
def test_regions_without_area_are_skipped_with_a_warning(read, capsys, bad, said):
    _, (_, b) = read(entries(region(), bad, region()), ["kite"])
    assert b.annotation_ids.tolist() == [1, 3] and len(b.masks) == 2
    warnings = capsys.readouterr().err
    assert "1 skipped" in warnings and re.search(f"b.png, region 2: .*{said}", warnings)
