"""Which image a mask belongs to, by their names."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from detect.data.readers.mask_pairs import match_masks


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        ("masks/a.png", None),
        ("masks/x/a.png", "images/x/a.jpg"),
        ("masks/y/a_mask.png", "images/y/a.jpg"),
        ("masks/z/a.png", None),
    ],
)
def test_a_mask_that_fits_several_images_equally_well_is_left_out(mask, image):
    images = [PurePosixPath(f"images/{folder}/a.jpg") for folder in "xy"]
    found = match_masks(images, [PurePosixPath(mask)])
    assert found == ({PurePosixPath(image): [PurePosixPath(mask)]} if image else {})
