"""labelme's shapes: each covers its area, groups are one object, invalid shapes are reported."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from helpers.labelme_files import BOX, CORNERS, masked, png, read, shape, write
from helpers.reading import read_problems
from helpers.via_files import BITMAP, HW, bitmap_of

from detect.data.readers import labelme
from detect.data.spec import DatasetSpec

NAN = float("nan")
TRIANGLE = np.tri(15, 20, dtype=np.uint8)
# A PNG whose header says 60000 x 60000 pixels.
BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in ((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(b"0")))
)


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (CORNERS, "polygon"),
        (CORNERS, None),
        (CORNERS, "Polygon"),
        (CORNERS, "quadrilateral"),
        ([["10", "5.0"], ["30", 5], [30, "20"], [10, 20]], "polygon"),
    ],
)
def test_polygons_are_masks_with_their_boxes(images, points, kind):
    names, (a,) = read(images, shape(points, kind))
    assert names.names == ("kite",) and a.path == images / "a.png" and a.image_hw == HW
    assert a.boxes.tolist() == [BOX] and a.areas.tolist() == [300] and a.labels.tolist() == [1]
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)
    assert read_problems("labelme", images, images) == [("unannotated_image", n) for n in ("b.png", "more/c.png")]


FOUR_CORNERS = [CORNERS, [*CORNERS[2:], *CORNERS[:2]], CORNERS[::-1], [[10, 5.001], [30, 5], [30, 20], [10, 20]]]
TWO_CORNERS = [[[10, 5], [30, 20]], [[30, 20], [10, 5]], [["30.0", 5], [10, "20.0"]], [[10, 20], [30, 5]]]


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        *(("rectangle", points) for points in TWO_CORNERS),
        *((kind, points) for kind in ("rectangle", "rotation", "oriented_rectangle") for points in FOUR_CORNERS),
    ],
)
def test_upright_rectangles_are_boxes_and_get_masks_beside_other_shapes(images, kind, points):
    names, (a,) = read(images, shape(points, kind))
    assert names.names == ("kite",) and a.boxes.tolist() == [BOX] and a.areas.tolist() == [300] and a.masks is None
    assert {kind for kind, _ in read_problems("labelme", images, images)} == {"unannotated_image"}
    _, (a,) = read(images, shape(points, kind), shape([[30, 20], [36, 28]], "circle"))
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)


@pytest.mark.parametrize("kind", ["rotation", "oriented_rectangle", "rectangle"])
def test_rotated_rectangles_are_the_boxes_around_their_corners(images, kind):
    tilted = shape([[20, 5], [30, 15], [20, 25], [10, 15]], kind, direction=0.785)
    _, (a,) = read(images, tilted)
    assert a.boxes.tolist() == [[10, 5, 30, 25]] and a.masks is None
    assert ("rotated_box", f"a.json, shape 1: {kind}") in read_problems("labelme", images, images)
    _, (a,) = read(images, tilted, shape())
    assert a.boxes.tolist() == [[10, 5, 30, 25], BOX] and a.areas[0] == pytest.approx(200, abs=20)


def test_masks_of_one_split_make_rectangles_of_all_splits_masks(images):
    write(images.parent / "one" / "a.json", shape())
    write(images.parent / "two" / "b.json", shape([[10, 5], [30, 20]], "rectangle"))
    parts = {name: {"images": str(images), "annotations": str(images.parent / name)} for name in ("one", "two")}
    spec = DatasetSpec("set", "labelme", images, parts)
    assert [spec.read(name)[1].has_masks for name in parts] == [True, True]
    spec = DatasetSpec("set", "labelme", images, {"two": parts["two"]})
    assert not spec.read("two")[1].has_masks


@pytest.mark.parametrize(
    "more",
    [
        {"shape_type": "polygon", "line_color": None, "fill_color": None},
        {"flags": None, "description": None, "difficult": "false", "attributes": {}, "kie_linking": [], "score": None},
        {"group_id": 3},
        {"group_id": "3"},
        {"group_id": ""},
    ],
)
def test_other_keys_of_a_shape_are_optional(images, more):
    _, (a,) = read(images, {"label": "kite", "points": CORNERS} | more)
    assert a.boxes.tolist() == [BOX] and len(a.masks) == 1


def test_shapes_without_a_group_are_separate_objects(images):
    for group in (None, ""):
        _, (a,) = read(images, shape(group_id=group), shape(group_id=group))
        assert a.boxes.tolist() == [BOX, BOX]


@pytest.mark.parametrize("label", ["__ignore__", "_background_", "__BACKGROUND__ "])
def test_background_labels_are_no_classes(images, label):
    names, (a,) = read(images, shape(), *[shape(label=label), shape([[1, 2]], "point", label=label)] * 2)
    assert names.names == ("kite",) and len(a) == 1
    found = [place for kind, place in read_problems("labelme", images, images) if kind == "background_shape"]
    assert found == [f"a.json, shape {i}: {label.strip()}" for i in (2, 3, 4, 5)]


@pytest.mark.parametrize("kind", ["line", "linestrip", "point", "points", "cuboid", "Point"])
def test_shapes_without_an_area_are_left_out(images, kind):
    names, (a,) = read(images, shape(), *[shape([[1, 2]], kind, label="nose")] * 3)
    assert names.names == ("kite",) and len(a) == 1
    found = [place for kind, place in read_problems("labelme", images, images) if kind == "shape_without_area"]
    assert found == [f"a.json, shape {i}: {kind.lower()}" for i in (2, 3, 4)]


@pytest.mark.parametrize(
    ("label", "name"), [(7, "7"), ("007", "007"), (1.5, "1.5"), ("KITE", "KITE"), (" a  b\n", "a b")]
)
def test_labels_are_the_text_as_written_without_superfluous_spaces(images, label, name):
    names, (a,) = read(images, shape(), shape(label=label))
    assert names.names == tuple(sorted(("kite", name))) and len(a) == 2


def test_circle_is_given_by_center_and_a_point_on_it(images):
    _, (a,) = read(images, shape([[30, 20], [36, 28]], "circle"))
    assert a.boxes.tolist() == [[20, 10, 40, 30]]
    y, x = np.mgrid[:40, :60] + 0.5
    ground_truth, found = np.hypot(x - 30, y - 20) <= 10, bitmap_of(a).astype(bool)
    assert (found & ground_truth).sum() / (found | ground_truth).sum() > 0.95


@pytest.mark.parametrize("value", [1, 255, True])
def test_mask_is_placed_at_its_upper_left_corner(images, value):
    _, (a,) = read(images, masked(TRIANGLE * value if value is not True else TRIANGLE > 0, 12, 6))
    found = bitmap_of(a)
    np.testing.assert_array_equal(found[6:21, 12:32], TRIANGLE)
    assert found.sum() == TRIANGLE.sum() == a.areas[0] and a.boxes.tolist() == [[12, 6, 27, 21]]


@pytest.mark.parametrize(("xy", "corner"), [((-5, -3), (0, 0)), ((50, 30), (50, 30)), ((11.6, 5.4), (12, 5))])
def test_mask_is_clipped_to_the_image_and_its_corner_rounded(images, xy, corner):
    _, (a,) = read(images, masked(np.ones((15, 20), np.uint8), *xy))
    left, upper = corner
    box = [left, upper, min(round(xy[0]) + 20, 60), min(round(xy[1]) + 15, 40)]
    assert a.boxes.tolist() == [box] and bitmap_of(a).sum() == (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("corners", [[[10, 5], [30, 20]], [[29, 19], [10, 5]], [[10.3, 5.2], [29.4, 19.1]]])
def test_last_pixel_of_a_mask_may_be_inclusive_or_exclusive(images, corners):
    _, (a,) = read(images, shape(corners, "mask", mask=png(np.ones((15, 20), np.uint8))))
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)


# Groups


def test_shapes_with_the_same_label_and_group_are_one_object(images):
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


def test_group_of_rectangles_alone_is_the_box_around_them(images):
    corners = ([[x, 5], [x + 10, 20]] for x in (5, 40))
    _, (a,) = read(images, *(shape(points, "rectangle", group_id=1) for points in corners))
    assert a.boxes.tolist() == [[5, 5, 50, 20]] and a.masks is None


def test_group_of_mask_and_polygon_is_their_union(images):
    _, (a,) = read(images, shape(group_id=0), masked(np.ones((10, 10), np.uint8), 25, 15, group_id=0))
    ground_truth = BITMAP.copy()
    ground_truth[15:25, 25:35] = True
    np.testing.assert_array_equal(bitmap_of(a), ground_truth)
    assert a.boxes.tolist() == [[10, 5, 35, 25]] and a.areas.tolist() == [ground_truth.sum()]


@pytest.mark.parametrize("bad", [[[1, 1], [9, 9]], [[0, 0], [9000, 0], [9, 9]]])
@pytest.mark.parametrize("good", [shape(group_id=7), masked(BITMAP[5:20, 10:30], 10, 5, group_id=7)])
def test_only_the_invalid_part_of_a_group_is_skipped(images, bad, good):
    _, (a,) = read(images, shape(bad, group_id=7), good)
    np.testing.assert_array_equal(bitmap_of(a), BITMAP)
    assert a.boxes.tolist() == [BOX]
    problems = dict(read_problems("labelme", images, images))
    location = problems.get("too_few_points") or problems["invalid_mask"]
    assert location.startswith("a.json, shape 1: ")


# Invalid shapes


SMALL = png(np.ones((5, 5), np.uint8))


@pytest.mark.parametrize(
    ("bad", "kind", "detail"),
    [
        (shape(kind="polygone"), "malformed_object", "unknown shape 'polygone': did you mean polygon"),
        (shape([]), "too_few_points", "0"),
        (shape([[1, 2], [3, 4]]), "too_few_points", "2"),
        (shape([[1, 2]] * 3), "zero_area_box", ""),
        (shape([[1, 2], [1, 9]], "rectangle"), "zero_area_box", "(1, 2, 1, 9)"),
        (shape([[1, 2]], "rectangle"), "malformed_object", "a rectangle has 2 or 4 corners, not 1"),
        (shape([[70, 5], [90, 9]], "rectangle"), "box_outside_image", ""),
        (shape([[5, 5], [5, 5]], "circle"), "zero_area_box", "radius of 0"),
        (
            shape([[5, 5]], "circle"),
            "malformed_object",
            "a circle has 2 points, the center and one on the circle, not 1",
        ),
        (shape([[1, 2], [NAN, 4], [5, 6]]), "non_finite_box", "[(1.0, 2.0), (nan"),
        (shape([[1, 2], [10**400, 4], [5, 6]]), "malformed_object", "Number out of range"),
        (shape([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), "malformed_object", "length 2, got 3 - at `$.points[0]`"),
        (shape([[1, "2px"], [3, 4], [5, 6]]), "malformed_object", "Expected `float`, got `str` - at `$.points[0][1]`"),
        (shape(CORNERS[:3], "rotation"), "malformed_object", "a rotation has 4 vertices, not 3"),
        (shape(None), "malformed_object", "Expected `array`, got `null` - at `$.points`"),
        ({"label": "kite"}, "malformed_object", "Object missing required field `points`"),
        ({"points": CORNERS}, "no_class", "the label is empty"),
        (shape(label=" \n"), "no_class", "the label is empty"),
        (shape(label=None), "no_class", "the label is empty"),
        (shape(label=["kite"]), "malformed_object", "the label is \"['kite']\"; expected text"),
        (shape(group_id=[1]), "malformed_object", "the group_id is '[1]'; expected a number"),
        ("kite", "malformed_object", "Expected `object`, got `str`"),
        (shape(CORNERS, "mask", mask=SMALL), "malformed_object", "a mask has 2 corners, not 4"),
        (shape(BOX, "mask"), "malformed_object", "Expected `array`, got `int`"),
        (shape([[1, 1], [5, 5]], "mask"), "invalid_mask", "not a PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask="x"), "invalid_mask", "not base64"),
        (shape([[1, 1], [5, 5]], "mask", mask="½"), "invalid_mask", "not base64"),
        (shape([[1, 1], [5, 5]], "mask", mask=SMALL[:60]), "invalid_mask", "damaged PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask=png(np.ones((5, 5), np.uint8), "BMP")), "invalid_mask", "not a PNG"),
        (shape([[1, 1], [5, 5]], "mask", mask=png(np.ones((5, 5, 3), np.uint8))), "invalid_mask", "color"),
        (shape([[1, 1], [9, 5]], "mask", mask=SMALL), "invalid_mask", "its PNG has 5x5 pixels, its box 8x4"),
        (
            shape([[0, 0], [59999, 59999]], "mask", mask=base64.b64encode(BOMB).decode()),
            "invalid_mask",
            "decompression bomb",
        ),
        (masked(np.zeros((5, 5), np.uint8), 1, 1), "zero_area_box", "mask is empty"),
        (masked(np.ones((5, 5), np.uint8), 60, 1), "box_outside_image", "(60, 1, 65, 6)"),
    ],
)
def test_invalid_shapes_are_reported_with_file_and_number(images, bad, kind, detail):
    _, (a,) = read(images, shape(), bad, shape())
    assert len(a) == 2 and len(a.masks) == 2
    found = [one for one in read_problems("labelme", images, images) if one[0] != "unannotated_image"]
    ((found_kind, location),) = found
    assert found_kind == kind and location.startswith("a.json, shape 2: ") and detail in location


def test_mask_on_an_enormous_image_is_not_decoded(images):
    write(images / "a.json", masked(TRIANGLE, 10, 5), imageHeight=2**31 - 1, imageWidth=2**31 - 1)
    skipped, *_ = labelme.parse(images, images).skipped
    assert skipped.kind == "invalid_mask" and str(skipped.location).startswith("a.json, shape 1: ")
    assert "2147483647x2147483647" in str(skipped.location)
