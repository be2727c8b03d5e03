"""Masks: all encodings describe the same pixels, and invalid ones are errors before they do harm."""

from __future__ import annotations

import json

import numpy as np
import pytest

from detect.structures import masks

HW = (40, 60)
SQUARE = [[10, 5, 30, 5, 30, 20, 10, 20]]  # columns 10..29, rows 5..19


def square() -> np.ndarray:
    bitmap = np.zeros(HW, bool)
    bitmap[5:20, 10:30] = True
    return bitmap


def bitmaps(count: int = 60) -> list[np.ndarray]:
    """Empty, full, single pixels in the corners, and random noise and rectangles of random sizes."""
    rng = np.random.default_rng(0)
    drawn = [np.zeros(HW, bool), np.ones(HW, bool), np.ones((1, 1), bool)]
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        drawn.append(np.zeros(HW, bool))
        drawn[-1][corner] = True
    for _ in range(count):
        height, width = rng.integers(1, 90, 2)
        bitmap = rng.random((height, width)) < rng.random()
        if rng.random() < 0.6:
            bitmap[:] = False
            y, x = rng.integers(0, height), rng.integers(0, width)
            bitmap[y : y + rng.integers(1, 60), x : x + rng.integers(1, 60)] = True
        drawn.append(bitmap)
    return drawn


def runs(bitmap: np.ndarray) -> list[int]:
    """Run lengths column by column, zeros first, counted pixel by pixel."""
    counts, value = [0], False
    for pixel in bitmap.T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def test_bitmap_survives_encoding_and_decoding():
    for bitmap in bitmaps():
        again = masks.to_bitmap(masks.from_bitmap(bitmap))
        assert again.dtype == np.uint8
        np.testing.assert_array_equal(again, bitmap)


def test_compressed_text_and_uncompressed_rles_are_equal():
    for bitmap in bitmaps():
        coded = masks.from_bitmap(bitmap)
        hw = bitmap.shape
        assert masks.from_coco(coded, hw) == coded
        assert masks.from_coco(json.loads(json.dumps(masks.to_json(coded))), hw) == coded
        assert masks.from_coco({"size": list(hw), "counts": runs(bitmap)}, hw) == coded


def test_json_has_the_counts_as_text():
    written = masks.to_json(masks.from_bitmap(square()))
    assert isinstance(written["counts"], str) and written["size"] == [40, 60]
    assert masks.to_json(written) == written


def test_polygon_fills_the_pixels_inside():
    np.testing.assert_array_equal(masks.to_bitmap(masks.from_polygons(SQUARE, HW)), square())
    turns = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    disc = np.stack([60 + 40 * np.cos(turns), 50 + 40 * np.sin(turns)], axis=1).ravel().tolist()
    assert masks.area(masks.from_polygons([disc], (100, 120))) == pytest.approx(np.pi * 40**2, rel=0.01)


def test_polygons_are_united_and_clipped_at_the_image():
    overlapping = [*SQUARE, [20, 5, 50, 5, 50, 20, 20, 20]]
    assert masks.area(masks.from_polygons(overlapping, HW)) == 40 * 15
    beyond = [[-20, -20, 10, -20, 10, 10, -20, 10]]
    assert masks.area(masks.from_polygons(beyond, HW)) == 100


def test_rle_of_a_crop_equals_that_of_the_whole_image():
    rng = np.random.default_rng(1)
    for _ in range(200):
        height, width = rng.integers(1, 50, 2)
        y, x = rng.integers(0, height + 1), rng.integers(0, width + 1)
        h, w = rng.integers(0, height - y + 1), rng.integers(0, width - x + 1)
        crop = rng.random((h, w)) < rng.choice([0, 0.5, 1])
        whole = np.zeros((height, width), bool)
        whole[y : y + h, x : x + w] = crop
        assert masks.from_crop(crop, (x, y), (height, width)) == masks.from_bitmap(whole)


RLE = masks.from_bitmap(square())
TOO_FEW = {"size": [40, 60], "counts": [100, 20, 30]}
BAD = {
    "nothing": None,
    "a box": {"x": 1},
    "no polygon": [],
    "two points": [[1, 1, 9, 9]],
    "an odd number": [[1, 1, 9, 9, 5, 1, 3]],
    "a flat list": [1.0, 1.0, 9.0, 9.0, 5.0, 1.0],
    "points": [[[1, 1], [9, 9], [5, 1]]],
    "uneven points": [[[1, 1], [9, 9], [5]]],
    "text": [["1", "1", "9", "9", "5", "1"]],
    "not a number": [[1, 1, 9, float("nan"), 5, 1]],
    "infinity": [[1, 1, 9, float("inf"), 5, 1]],
    "far away": [[1, 1, 9, 1e9, 5, 1]],
    "one bad of two": [*SQUARE, [1, 1]],
    "another size": {**RLE, "size": [60, 40]},
    "no size": {**RLE, "size": None},
    "too few pixels": TOO_FEW,
    "too many pixels": {**TOO_FEW, "counts": [100, 20, 30, 40 * 60]},
    "a negative run": {**TOO_FEW, "counts": [40 * 60 + 5, -5]},
    "half a pixel": {**TOO_FEW, "counts": [0.5, 40 * 60 - 0.5]},
    "no counts": {**TOO_FEW, "counts": []},
    "counts of None": {**TOO_FEW, "counts": None},
    "empty counts": {**RLE, "counts": b""},
    "truncated counts": {**RLE, "counts": RLE["counts"][:-3]},
    "surplus counts": {**RLE, "counts": RLE["counts"] + b"51"},
    "counts that are no RLE": {**RLE, "counts": "hello, world"},
    "umlauts": {**RLE, "counts": "üöä"},
}


@pytest.mark.parametrize("density", [0.02, 0.5, 1])
@pytest.mark.parametrize("rows", [slice(0, 0), slice(3, 9), slice(0, 12), slice(11, 12)])
@pytest.mark.parametrize("columns", [slice(0, 1), slice(4, 17), slice(0, 20), slice(19, 20)])
def test_crop_of_a_mask_is_its_bounding_box(rows, columns, density):
    bitmap = np.zeros((12, 20), np.uint8)
    bitmap[rows, columns] = np.random.default_rng(0).random(bitmap[rows, columns].shape) < density
    crop, (x, y) = masks.to_crop(masks.from_bitmap(bitmap))
    assert crop.size == 0 or (crop[0].any() and crop[-1].any() and crop[:, 0].any() and crop[:, -1].any())
    pasted = np.zeros_like(bitmap)
    pasted[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    np.testing.assert_array_equal(pasted, bitmap)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_invalid_segmentation_is_an_error(bad):
    """In pycocotools some of these never return, some take all memory, and some decode to other pixels."""
    for convert in (masks.check, masks.from_coco):
        with pytest.raises(ValueError, match=r"polygon|RLE|segmentation") as error:
            convert(bad, HW)
        assert "\n" not in str(error.value)


def test_error_names_both_sizes():
    with pytest.raises(ValueError, match=r"for an image of \[40, 60\], the image is \[41, 60\]"):
        masks.check(RLE, (41, 60))
    with pytest.raises(ValueError, match=r"counts 150 pixels, the image has 2400"):
        masks.check(TOO_FEW, HW)


def test_area_and_box_are_in_whole_pixels():
    assert masks.area(RLE) == 15 * 20
    box = masks.box(RLE)
    assert box.dtype == np.float32 and box.tolist() == [10, 5, 30, 20]
    assert masks.box(masks.from_bitmap(np.zeros(HW, bool))).tolist() == [0, 0, 0, 0]


def test_iou_of_every_pair():
    half = square()
    half[:, 20:] = False
    elsewhere = masks.from_bitmap(np.roll(square(), 20, axis=0))
    ious = masks.iou([RLE, masks.from_bitmap(half)], [RLE, elsewhere, masks.from_bitmap(half)])
    np.testing.assert_allclose(ious, [[1, 0, 0.5], [0.5, 0, 1]])
    assert masks.iou([], [RLE]).shape == (0, 1)
    assert masks.iou([RLE, RLE], []).shape == (2, 0)
