"""labelme's shapes: each covers what was drawn, those of a group are one object, what encloses nothing is named."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.labelme_files import BOX, CORNERS, masked, png, read, shape, write
from helpers.via_files import BITMAP, HW, bitmap_of, write_images

from detect.data.readers import labelme

NAN = float("nan")
TRIANGLE = np.tri(15, 20, dtype=np.uint8)
# A PNG that says it has 60000 x 60000 pixels.
BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"0")))
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path)


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (CORNERS, "polygon"),
        (CORNERS, None),
        (CORNERS, "oriented_rectangle"),
        (CORNERS, "rotation"),
        (CORNERS, "rectangle"),
        ([[10, 5], [30, 20]], "rectangle"),
        ([[30, 20], [10, 5]], "rectangle"),
        ([[30.0, 5], [10, 20.0]], "rectangle"),
        ([[10, 20], [30, 5]], "rectangle"),
    ],
)
def test_outlines_are_masks_and_have_their_box(images, capsys, points, kind):
    names, (a,) = read(images, shape(points, kind))
    assert names.names == ("kite",) and a.path == images / "a.png" and a.image_hw == HW
    assert a.boxes.tolist() == [BOX] and a.areas.tolist() == [300] and a.labels.tolist() == [1]
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)
    assert "images without annotations: 2 skipped (b.png, more/c.png)" in capsys.readouterr().err


def test_early_versions_write_no_type_and_no_group(images):
    _, (a,) = read(images, {"label": "kite", "line_color": None, "fill_color": None, "points": CORNERS})
    assert a.boxes.tolist() == [BOX]


def test_turned_rectangles_keep_their_corners(images):
    points = [[20, 5], [30, 15], [20, 25], [10, 15]]
    _, (a,) = read(images, shape(points, "oriented_rectangle"))
    assert a.boxes.tolist() == [[10, 5, 30, 25]] and a.areas[0] == pytest.approx(200, abs=20)


def test_a_circle_is_its_middle_and_a_point_on_the_rim(images):
    _, (a,) = read(images, shape([[30, 20], [36, 28]], "circle"))
    assert a.boxes.tolist() == [[20, 10, 40, 30]]
    y, x = np.mgrid[:40, :60] + 0.5
    ground_truth, found = np.hypot(x - 30, y - 20) <= 10, bitmap_of(a).astype(bool)
    assert (found & ground_truth).sum() / (found | ground_truth).sum() > 0.95


@pytest.mark.parametrize("value", [1, 255, True])
def test_a_mask_lies_where_its_corner_is(images, value):
    _, (a,) = read(images, masked(TRIANGLE * value if value is not True else TRIANGLE > 0, 12, 6))
    found = bitmap_of(a)
    np.testing.assert_array_equal(found[6:21, 12:32], TRIANGLE)
    assert found.sum() == TRIANGLE.sum() == a.areas[0] and a.boxes.tolist() == [[12, 6, 27, 21]]


@pytest.mark.parametrize(("xy", "corner"), [((-5, -3), (0, 0)), ((50, 30), (50, 30)), ((11.6, 5.4), (12, 5))])
def test_a_mask_is_cut_at_the_edges_and_its_corner_rounded(images, xy, corner):
    _, (a,) = read(images, masked(np.ones((15, 20), np.uint8), *xy))
    left, upper = corner
    box = [left, upper, min(round(xy[0]) + 20, 60), min(round(xy[1]) + 15, 40)]
    assert a.boxes.tolist() == [box] and bitmap_of(a).sum() == (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("corners", [[[10, 5], [30, 20]], [[29, 19], [10, 5]], [[10.3, 5.2], [29.4, 19.1]]])
def test_a_mask_may_count_its_last_pixel_in_or_out(images, corners):
    _, (a,) = read(images, shape(corners, "mask", mask=png(np.ones((15, 20), np.uint8))))
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)


# Groups


def test_shapes_of_one_label_and_group_are_one_object(images):
    left, right = ([[x, 5], [x + 10, 20]] for x in (5, 40))
    _, (a,) = read(
        images,
        shape(left, "rectangle", group_id=1),
        shape(CORNERS, group_id=1, label="bird"),
        shape(CORNERS),
        shape(right, "rectangle", group_id=1),
        shape(CORNERS),
        shape(left, "rectangle", group_id=2),
    )
    assert a.boxes.tolist() == [[5, 5, 50, 20], BOX, BOX, BOX, [5, 5, 15, 20]] and a.labels.tolist() == [2, 1, 2, 2, 2]
    assert len(a.masks[0]) == 2 and a.areas.tolist() == [300, 300, 300, 300, 150]


def test_a_group_of_a_mask_and_a_polygon_is_both(images):
    _, (a,) = read(images, shape(group_id=0), masked(np.ones((10, 10), np.uint8), 25, 15, group_id=0))
    ground_truth = BITMAP.copy()
    ground_truth[15:25, 25:35] = True
    np.testing.assert_array_equal(bitmap_of(a), ground_truth)
    assert a.boxes.tolist() == [[10, 5, 35, 25]] and a.areas.tolist() == [ground_truth.sum()]


@pytest.mark.parametrize("bad", [[[1, 1], [9, 9]], [[0, 0], [9000, 0], [9, 9]]])
@pytest.mark.parametrize("good", [shape(group_id=7), masked(BITMAP[5:20, 10:30], 10, 5, group_id=7)])
def test_of_a_group_only_what_cannot_be_drawn_is_left_out(images, capsys, bad, good):
    _, (a,) = read(images, shape(bad, group_id=7), good)
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)
    assert a.boxes.tolist() == [BOX]
    assert re.search(r"(few.* 3 points|invalid masks): 1 skipped \(a\.json, shape 1: ", capsys.readouterr().err)


# What cannot be used


SMALL = png(np.ones((5, 5), np.uint8))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (
            shape(kind="line"),
            "violate the annotation format: 1 skipped (a.json, shape 2: its type is line, which encloses nothing)",
        ),
        (shape(kind="linestrip"), "type is linestrip, which encloses nothing"),
        (shape([[1, 2]], "point"), "type is point, which encloses nothing"),
        (shape(kind="points"), "type is points, which encloses nothing"),
        (shape(kind="polygone"), "unknown shape 'polygone': did you mean polygon"),
        (shape([]), "polygons with fewer than 3 points: 1 skipped (a.json, shape 2: 0)"),
        (shape([[1, 2], [3, 4]]), "fewer than 3 points: 1 skipped (a.json, shape 2: 2)"),
        (shape([[1, 2]] * 3), "zero-area boxes"),
        (shape([[1, 2], [1, 9]], "rectangle"), "zero-area boxes: 1 skipped (a.json, shape 2: (1, 2, 1, 9))"),
        (shape([[1, 2]], "rectangle"), "shape 2: a rectangle has two or four corners, not 1"),
        (shape([[70, 5], [90, 9]], "rectangle"), "outside their image: 1 skipped (a.json, shape 2"),
        (shape([[5, 5], [5, 5]], "circle"), "a radius of 0 encloses nothing"),
        (shape([[5, 5]], "circle"), "a circle has two points, the middle and one on the rim, not 1"),
        (shape([[1, 2], [NAN, 4], [5, 6]]), "not four finite numbers: 1 skipped (a.json, shape 2: [(1.0, 2.0), (nan"),
        (shape([[1, 2], [10**400, 4], [5, 6]]), "Number out of range"),
        (shape([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), "Expected `array` of length 2, got 3 - at `$.points[0]`"),
        (shape([[1, "2"], [3, 4], [5, 6]]), "Expected `float`, got `str` - at `$.points[0][1]`"),
        (shape(None), "Expected `array`, got `null` - at `$.points`"),
        ({"points": CORNERS}, "Object missing required field `label`"),
        (shape(label=" \n"), "shape 2: it has no label"),
        (shape(group_id=[1]), "- at `$.group_id`"),
        ("kite", "Expected `object`, got `str`"),
        (shape(CORNERS, "mask", mask=SMALL), "a mask has two corners, not 4"),
        (shape(BOX, "mask"), "Expected `array`, got `int`"),
        (shape([[1, 1], [5, 5]], "mask"), "invalid masks: 1 skipped (a.json, shape 2: its mask is no PNG)"),
        (shape([[1, 1], [5, 5]], "mask", mask="x"), "its mask is a damaged PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask="½"), "its mask is a damaged PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask=SMALL[:60]), "its mask is a damaged PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask=png(np.ones((5, 5), np.uint8), "BMP")), "its mask is no PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask=png(np.ones((5, 5, 3), np.uint8))), "its PNG is in color"),
        (shape([[1, 1], [9, 5]], "mask", mask=SMALL), "its PNG has 5x5 pixels, its box 8x4"),
        (shape([[0, 0], [59999, 59999]], "mask", mask=base64.b64encode(BOMB).decode()), "decompression bomb"),
        (
            masked(np.zeros((5, 5), np.uint8), 1, 1),
            "zero-area boxes: 1 skipped (a.json, shape 2: a mask without a",
        ),
        (
            masked(np.ones((5, 5), np.uint8), 60, 1),
            "outside their image: 1 skipped (a.json, shape 2: (60, 1, 64, 5",
        ),
    ],
)
def test_shapes_that_cannot_be_used_are_named(images, capsys, bad, said):
    _, (a,) = read(images, shape(), bad, shape())
    assert len(a) == 2 and len(a.masks) == 2
    assert said in capsys.readouterr().err


def test_a_mask_on_an_image_beyond_all_reason_is_not_unpacked(images):
    write(images / "a.json", masked(TRIANGLE, 10, 5), imageHeight=2**31 - 1, imageWidth=2**31 - 1)
    reject, *_ = labelme.parse(images, images).skipped
    assert reject.kind == "invalid_mask" and str(reject.location).startswith("a.json, shape 1: it lies on an image of 21474")
