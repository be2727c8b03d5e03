"""Which tiles an image has."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from detect.errors import UsageError
from detect.inference.tiling import MIN_TILE, OVERLAP, Tile, Tiling, parse_tile
from detect.structures.image_size import InputSize

INPUT_SIZE = InputSize(480, 799)
SIZES = [(64, 64), (65, 64), (100, 3000), (3000, 4000), (1001, 777), (2000, 90)]


@pytest.mark.parametrize("image_hw", SIZES)
@pytest.mark.parametrize("size", [64, 100, 640])
def test_tiles_cover_the_image_and_overlap(image_hw, size):
    whole, *tiles = Tiling(size, INPUT_SIZE, None).tiles(image_hw)
    assert whole == Tile.whole(image_hw)
    if max(image_hw) <= size:
        assert not tiles
        return
    assert {tile.hw for tile in tiles} == {(min(size, image_hw[0]), min(size, image_hw[1]))}
    for low, high, length in ((0, 2, image_hw[1]), (1, 3, image_hw[0])):
        spans = sorted({(tile[low], tile[high]) for tile in tiles})
        assert spans[0][0] == 0 and spans[-1][1] == length
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= int(OVERLAP * size) - 1
    assert len(set(tiles)) == len(tiles)


def test_a_tile_is_a_view_of_the_image():
    image = np.arange(100 * 80 * 3, dtype=np.uint8).reshape(100, 80, 3)
    crop = Tile(10, 20, 40, 90).crop(image)
    assert crop.shape == (70, 30, 3) and np.shares_memory(crop, image)
    assert (crop[0, 0] == image[20, 10]).all()


@pytest.mark.parametrize(
    ("image_hw", "training_shrink", "side"),
    [
        ((720, 720), None, None),  # shrunk 1.5 times
        ((730, 730), None, 480),
        ((3000, 4000), None, 480),
        ((3000, 4000), 0.6, 480),  # tiles are not enlarged
        ((3000, 4000), 2.0, 960),
        ((1400, 1400), 2.0, None),
        ((3000, 4000), 5.0, None),  # trained on such images
        ((100, 100), None, None),
    ],
)
def test_automatic_tiles_appear_at_the_scale_of_the_training_images(image_hw, training_shrink, side):
    tiles = Tiling("auto", INPUT_SIZE, training_shrink).tiles(image_hw)
    assert len(tiles) == 1 if side is None else tiles[-1].hw == (side, side)


def test_no_tiles_are_the_default():
    assert Tiling(None, INPUT_SIZE, 2.0).tiles((8000, 9000)) == [Tile(0, 0, 9000, 8000)]


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("auto", "auto"), ("640", 640), (640, 640)])
def test_the_setting_is_read_from_text_and_numbers(value, expected):
    assert parse_tile(value) == expected


@pytest.mark.parametrize("value", [0, MIN_TILE - 1, -640, "", "big", "64.5", 640.0, True, "٦٤٠", "Auto"])
def test_other_values_are_mistakes_of_the_user(value):
    with pytest.raises(UsageError, match="`tile="):
        parse_tile(value)
