"""Repair of annotations made for a rotated or resized image: they match their objects afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplitBuilder
from detect.data.validation.coordinates import rotated, scaled
from detect.media.images import Header
from detect.media.orientation import upright
from detect.structures import masks

STORED_HW = (40, 60)
BOX = (10, 5, 30, 20)
L_SHAPE = [10, 5, 30, 5, 30, 12, 20, 12, 20, 20, 10, 20]  # changes when it is rotated or mirrored


def bitmap() -> np.ndarray:
    return masks.to_bitmap(masks.from_polygons([L_SHAPE], STORED_HW))


def table(mask: object, hw: tuple[int, int] = STORED_HW) -> Table:
    """Return two images with one object each; the tests change the second one."""
    builder = UnvalidatedSplitBuilder(Path(), Path("a.json"), "annotation")
    for name in ("a.jpg", "b.jpg"):
        image = builder.add_image(name, hw)
        builder.add_object(image, builder.label("kite"), image + 1, box=BOX, mask=mask, area=240.0)
    return builder.finish().table


def header(hw: tuple[int, int], orientation: int = 1) -> Header:
    return Header(hw, orientation, "JPEG", "RGB", 8)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("mask", [[L_SHAPE], masks.from_bitmap(bitmap())], ids=["polygon", "rle"])
def test_annotations_on_stored_pixels_are_rotated_upright(orientation, mask):
    hw = STORED_HW[::-1]
    found = rotated(table(mask), [1], [header(STORED_HW), header(hw, orientation)])
    unchanged, moved = found
    assert unchanged.image_hw == STORED_HW and unchanged.boxes.tolist() == [list(BOX)]
    assert moved.image_hw == hw and moved.areas.tolist() == [240]
    expected_bitmap = upright(bitmap(), orientation)
    assert np.array_equal(masks.to_bitmap(masks.from_coco(moved.masks[0], hw)), expected_bitmap)
    ys, xs = np.nonzero(expected_bitmap)
    assert moved.boxes.tolist() == [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]


@pytest.mark.parametrize("factor", [2, 0.5])
@pytest.mark.parametrize("mask", [[L_SHAPE], masks.from_bitmap(bitmap())], ids=["polygon", "rle"])
def test_annotations_are_scaled_to_an_image_of_equal_aspect_ratio(factor, mask):
    hw = tuple(int(side * factor) for side in STORED_HW)
    _, moved = scaled(table(mask), [1], [header(STORED_HW), header(hw)])
    assert moved.image_hw == hw and moved.boxes.tolist() == [[side * factor for side in BOX]]
    assert moved.areas.tolist() == [240 * factor**2]
    expected = masks.from_polygons([[side * factor for side in L_SHAPE]], hw)
    assert masks.iou([masks.from_coco(moved.masks[0], hw)], [expected])[0, 0] > (
        0.95 if isinstance(mask, list) else 0.8
    )  # whole pixels


@pytest.mark.parametrize("hw", [(25, 60), (40, 35), (60, 40)])
def test_image_of_another_aspect_ratio_stays_unchanged(hw):
    """It may have been cropped at an unknown position."""
    before = table([L_SHAPE])
    assert scaled(before, [1], [header(STORED_HW), header(hw)]) is before


@pytest.mark.parametrize("orientation", [6, 8])
def test_annotations_are_rotated_and_scaled_together(orientation):
    _, moved = scaled(table([L_SHAPE]), [1], [header(STORED_HW), header((120, 80), orientation)])
    twice = masks.to_bitmap(masks.from_polygons([[2 * side for side in L_SHAPE]], (80, 120)))
    assert np.array_equal(masks.to_bitmap(masks.from_coco(moved.masks[0], (120, 80))), upright(twice, orientation))
    assert moved.areas.tolist() == [960]


def test_unreadable_image_stays_unchanged():
    before = table([L_SHAPE])
    assert scaled(before, [1], [header(STORED_HW), "no image"]) is before


def test_rle_mask_of_another_size_is_scaled_from_its_own_size():
    """The annotated size is 40 x 60, the size of the mask 20 x 30, the size of the image 80 x 120."""
    small = masks.from_polygons([[side / 2 for side in L_SHAPE]], (20, 30))
    _, moved = scaled(table(small), [1], [header(STORED_HW), header((80, 120))])
    expected = masks.from_polygons([[side * 2 for side in L_SHAPE]], (80, 120))
    assert masks.iou([masks.from_coco(moved.masks[0], (80, 120))], [expected])[0, 0] > 0.9
