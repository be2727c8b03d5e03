"""Annotations that were made for a turned or resized image lie on their objects again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.data.quality.repair.coordinates import scaled, turned
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplitBuilder
from detect.media.images import Header, upright
from detect.structures import masks

STORED_HW = (40, 60)
BOX = (10, 5, 30, 20)
CORNER = [10, 5, 30, 5, 30, 12, 20, 12, 20, 20, 10, 20]  # an L, which is another one when it is turned or mirrored


def bitmap() -> np.ndarray:
    return masks.to_bitmap(masks.from_polygons([CORNER], STORED_HW))


def table(mask: object, hw: tuple[int, int] = STORED_HW) -> Table:
    """One image that is not to be touched, and one with an object."""
    builder = UnvalidatedSplitBuilder(Path(), Path("a.json"), "annotation")
    for name in ("a.jpg", "b.jpg"):
        image = builder.add_image(name, hw)
        builder.add_object(image, builder.label("kite"), image + 1, box=BOX, mask=mask, area=240.0)
    return builder.finish().table


def header(hw: tuple[int, int], orientation: int = 1) -> Header:
    return Header(hw, orientation, "JPEG", "RGB", 8)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("mask", [[CORNER], masks.from_bitmap(bitmap())], ids=["polygon", "code"])
def test_what_was_marked_on_the_pixels_as_they_lie_is_marked_when_they_stand(orientation, mask):
    hw = STORED_HW[::-1]
    found = turned(table(mask), [1], [header(STORED_HW), header(hw, orientation)])
    still, moved = found
    assert still.image_hw == STORED_HW and still.boxes.tolist() == [list(BOX)]
    assert moved.image_hw == hw and moved.areas.tolist() == [240]
    standing = upright(bitmap(), orientation)
    assert np.array_equal(masks.to_bitmap(masks.from_coco(moved.masks[0], hw)), standing)
    ys, xs = np.nonzero(standing)
    assert moved.boxes.tolist() == [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]


@pytest.mark.parametrize("factor", [2, 0.5])
@pytest.mark.parametrize("mask", [[CORNER], masks.from_bitmap(bitmap())], ids=["polygon", "code"])
def test_an_image_of_the_same_shape_takes_its_objects_with_it(factor, mask):
    hw = tuple(int(side * factor) for side in STORED_HW)
    _, moved = scaled(table(mask), [1], [header(STORED_HW), header(hw)])
    assert moved.image_hw == hw and moved.boxes.tolist() == [[side * factor for side in BOX]]
    assert moved.areas.tolist() == [240 * factor**2]
    expected = masks.from_polygons([[side * factor for side in CORNER]], hw)
    assert masks.iou([masks.from_coco(moved.masks[0], hw)], [expected])[0, 0] > (
        0.95 if isinstance(mask, list) else 0.8
    )  # whole pixels


@pytest.mark.parametrize("hw", [(25, 60), (40, 35), (60, 40)])
def test_an_image_of_another_shape_is_left_alone(hw):
    """It may have been cut, and nobody knows where."""
    before = table([CORNER])
    assert scaled(before, [1], [header(STORED_HW), header(hw)]) is before


@pytest.mark.parametrize("orientation", [6, 8])
def test_an_image_is_turned_and_scaled_at_once(orientation):
    _, moved = scaled(table([CORNER]), [1], [header(STORED_HW), header((120, 80), orientation)])
    twice = masks.to_bitmap(masks.from_polygons([[2 * side for side in CORNER]], (80, 120)))
    assert np.array_equal(masks.to_bitmap(masks.from_coco(moved.masks[0], (120, 80))), upright(twice, orientation))
    assert moved.areas.tolist() == [960]


def test_an_image_that_cannot_be_read_is_left_alone():
    before = table([CORNER])
    assert scaled(before, [1], [header(STORED_HW), "no image"]) is before


def test_a_code_for_another_size_is_scaled_from_its_own():
    """The file says 40 x 60, the code is for 20 x 30, the image has 80 x 120."""
    small = masks.from_polygons([[side / 2 for side in CORNER]], (20, 30))
    _, moved = scaled(table(small), [1], [header(STORED_HW), header((80, 120))])
    expected = masks.from_polygons([[side * 2 for side in CORNER]], (80, 120))
    assert masks.iou([masks.from_coco(moved.masks[0], (80, 120))], [expected])[0, 0] > 0.9
