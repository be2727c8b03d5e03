"""Polygons of masks fill exactly the mask by either fill rule, with holes, islands and several parts."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.folders import SHARED
from helpers.reading import read_split
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detect.structures import masks
from detect.structures.polygons import (
    join_rings,
    mask_rings,
    rotated_rectangle,
    simplified_polygons,
    single_polygon,
)

DATA = SHARED / "data"
HW = (40, 60)
SQUARE = [10.0, 5.0, 30.0, 5.0, 30.0, 20.0, 10.0, 20.0]
RAGGED = [10.25, 5.5, 33.3, 7.77, 28.1, 25.9, 12.0, 30.01]
BOWTIE = [10.0, 5.0, 40.0, 35.0, 40.0, 5.0, 10.0, 35.0]
STAR = [30.0, 2.0, 42.0, 38.0, 11.0, 16.0, 49.0, 16.0, 18.0, 38.0]
TWICE_ROUND = [5.0, 5.0, 45.0, 5.0, 45.0, 35.0, 5.0, 35.0, 5.0, 5.0, 30.0, 5.0, 30.0, 20.0, 5.0, 20.0]


def filled(polygon: list[float], hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The pixels with their center inside by the even-odd and by the non-zero rule, bool [H, W] each."""
    x0, y0 = np.reshape(polygon, (-1, 2)).T[:, :, None, None]
    x1, y1 = np.roll(x0, -1, axis=0), np.roll(y0, -1, axis=0)
    y, x = np.mgrid[: hw[0], : hw[1]] + 0.5
    over = (y0 <= y) != (y1 <= y)
    with np.errstate(divide="ignore", invalid="ignore"):
        right = over & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return right.sum(axis=0) % 2 > 0, (right * np.where(y0 < y1, 1, -1)).sum(axis=0) != 0


def iou(polygon: list[float], segmentation, hw: tuple[int, int] = HW) -> float:
    """IoU of the filled polygon with the mask."""
    return masks.iou([masks.from_polygons([polygon], hw)], [masks.from_coco(segmentation, hw)])[0, 0]


def ring_with_island() -> np.ndarray:
    bitmap = np.zeros(HW, bool)
    bitmap[2:30, 3:40], bitmap[5:25, 10:30], bitmap[10:15, 15:20] = True, False, True
    return bitmap


bitmaps = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda hw: arrays(bool, hw))


@settings(deadline=None)
@given(bitmaps)
def test_polygons_reproduce_any_bitmap_by_either_fill_rule(bitmap):
    """Random pixels have holes, islands, pixels that touch at corners, and parts at the edges."""
    rle, hw = masks.from_bitmap(bitmap), bitmap.shape
    parts = mask_rings(rle)
    if not bitmap.any():
        assert parts == [] and single_polygon(rle, hw) == []
        return
    assert masks.from_polygons([join_rings([part]) for part in parts], hw) == rle
    polygon = single_polygon(rle, hw)
    assert polygon == join_rings(parts) and masks.from_polygons([polygon], hw) == rle
    for pixels in filled(polygon, hw):
        assert np.array_equal(pixels, bitmap)


def test_rings_hold_only_corners_and_each_part_its_holes():
    (ring, hole), (island,) = sorted(mask_rings(masks.from_bitmap(ring_with_island())), key=len, reverse=True)
    corners = {tuple(map(tuple, sorted(part.tolist()))) for part in (ring, hole, island)}
    boxes = ((3, 2, 40, 30), (10, 5, 30, 25), (15, 10, 20, 15))
    assert corners == {((x0, y0), (x0, y1), (x1, y0), (x1, y1)) for x0, y0, x1, y1 in boxes}


def test_parts_that_touch_at_a_corner_are_two():
    assert (
        len(mask_rings(masks.from_bitmap(np.eye(2)))) == 2 and len(mask_rings(masks.from_bitmap(np.ones((2, 2))))) == 1
    )


@pytest.mark.parametrize("polygon", [SQUARE, RAGGED, [-5.0, 3.0, 20.5, 3.0, 20.0, 60.0], [*SQUARE, 10, 40, 10, 20]])
def test_unambiguous_polygon_is_returned_unchanged(polygon):
    """Also one that reaches outside the image, and one with a line traversed in both directions."""
    assert single_polygon([polygon], HW) == polygon
    assert single_polygon([np.array(polygon)], HW) == polygon


@pytest.mark.parametrize("polygon", [BOWTIE, STAR, TWICE_ROUND])
def test_self_crossing_polygon_becomes_one_that_both_rules_fill_equally(polygon):
    whole = single_polygon([polygon], HW)
    even_odd, non_zero = filled(whole, HW)
    assert iou(whole, [polygon]) >= 0.995 and np.array_equal(even_odd, non_zero)
    assert (even_odd ^ filled(polygon, HW)[0]).sum() <= 0.06 * even_odd.sum(), (
        "pycocotools fills thin tips differently"
    )


def test_joined_polygon_is_returned_unchanged_when_joined_again():
    rle = masks.from_bitmap(ring_with_island())
    polygon = single_polygon(rle, HW)
    assert len(polygon) == 2 * (3 * 4 + 2 * 2), "three rings, and copies of both ends of two bridges"
    assert single_polygon([polygon], HW) == polygon


def test_polygons_of_one_object_are_united():
    other = [v + 10 for v in SQUARE]
    polygon = single_polygon([SQUARE, other], HW)
    assert len(polygon) == 16 and masks.from_polygons([polygon], HW) == masks.from_polygons([SQUARE, other], HW)
    far = [35.5, 25.0, 50.0, 25.0, 45.0, 38.0]
    polygon = single_polygon([SQUARE, far], HW)
    assert len(polygon) == len(SQUARE) + len(far) + 4 and iou(polygon, [SQUARE, far]) == 1
    assert all(np.array_equal(one, filled(SQUARE, HW)[0] | filled(far, HW)[0]) for one in filled(polygon, HW))


@pytest.mark.parametrize("seed", range(40))
def test_random_polygons_keep_their_mask(seed):
    """They cross themselves and each other, and reach outside the image."""
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-10, 60, 2 * rng.integers(3, 9)).round(2).tolist() for _ in range(rng.integers(1, 5))]
    for clip in (False, True):
        polygon = single_polygon(polygons, HW, clip=clip)
        assert iou(polygon, polygons) >= 0.99
        xs, ys = polygon[0::2], polygon[1::2]
        assert not clip or (min(xs) >= 0 and max(xs) <= HW[1] and min(ys) >= 0 and max(ys) <= HW[0])


def test_clip_leaves_polygons_inside_the_image_unchanged():
    assert single_polygon([RAGGED], HW, clip=True) == RAGGED
    assert sorted(single_polygon([[-5, -5, 20, -5, 20, 9, -5, 9]], HW, clip=True)) == [0, 0, 0, 0, 9, 9, 20, 20]


@pytest.mark.parametrize(
    "segmentation", [[[1, 1, 1, 1, 1, 1]], [[1, 1, 50, 1.01, 1, 1.02]], [[70, 5, 80, 5, 80, 9]], [[1, 1, 9, 9, 1, 1]]]
)
def test_mask_without_a_pixel_gives_an_empty_polygon(segmentation):
    assert single_polygon(segmentation, HW) == []


def test_invalid_segmentation_is_an_error():
    for bad in ([], [[1, 2, 3, 4]], {"size": [3, 3], "counts": b"9"}, [[0, 0, 1e9, 0, 0, 1e9]]):
        with pytest.raises(ValueError):
            single_polygon(bad, HW)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", ["coco_tiny80", "balloon"])
def test_masks_of_real_datasets_are_kept(name, split):
    """RLEs of crowd regions exactly."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs {name}")
    if name == "balloon":
        _, records = read_split("via", folder / split, folder / split / "via_region_data.json", ["balloon"])
    else:
        ground_truth = folder / "annotations" / f"instances_{split}2017.json"
        _, records = read_split("coco", folder / f"{split}2017", ground_truth)
    for record in records:
        for mask in record.masks:
            polygon = single_polygon(mask, record.image_hw)
            min_iou = 1 if isinstance(mask, dict) or polygon == list(mask[0]) else 0.995
            assert iou(polygon, mask, record.image_hw) >= min_iou


@pytest.mark.parametrize(
    ("degrees", "box", "first_edge"),
    [
        (0, [20, 15, 40, 25], [20, 15, 40, 15]),
        (90, [25, 10, 35, 30], [35, 10, 35, 30]),
        (-90, [25, 10, 35, 30], [25, 30, 25, 10]),
        (450, [25, 10, 35, 30], [35, 10, 35, 30]),
        (180, [20, 15, 40, 25], [40, 25, 20, 25]),
        (30, [18.839746, 10.669873, 41.160254, 29.330127], [23.839746, 10.669873, 41.160254, 20.669873]),
    ],
)
def test_rectangle_rotates_clockwise_around_its_center(degrees, box, first_edge):
    found, polygon = rotated_rectangle((30, 20), (20, 10), degrees)
    assert found == pytest.approx(box, abs=1e-6) and polygon[:4] == pytest.approx(first_edge, abs=1e-6)
    assert degrees % 90 or found == box
    assert np.mean(np.reshape(polygon, (-1, 2)), axis=0) == pytest.approx((30, 20))


@settings(deadline=None)
@given(bitmaps)
def test_simplified_polygons_fill_nearly_the_mask(bitmap):
    rle = masks.from_bitmap(bitmap)
    polygons = simplified_polygons(rle)
    assert bool(polygons) == bitmap.any()
    if polygons:
        assert masks.iou([masks.from_polygons(polygons, bitmap.shape)], [rle])[0, 0] >= 0.97


def test_a_round_mask_is_simplified_to_few_vertices_in_its_box():
    y, x = np.mgrid[:200, :300]
    bitmap = ((x - 150) / 100) ** 2 + ((y - 90) / 60) ** 2 < 1
    bitmap &= ((x - 150) / 30) ** 2 + ((y - 90) / 20) ** 2 > 1
    bitmap[195:, 290:] = True
    rle = masks.from_bitmap(bitmap)
    polygons = simplified_polygons(rle)
    exact = [join_rings([part]) for part in mask_rings(rle)]
    assert len(polygons) == len(exact) == 2
    assert sum(map(len, polygons)) < sum(map(len, exact)) / 5
    points = np.concatenate(polygons).reshape(-1, 2)
    assert np.abs([*points.min(axis=0), *points.max(axis=0)] - masks.box(rle)).max() <= 1
