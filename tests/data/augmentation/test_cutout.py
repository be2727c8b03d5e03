"""Rectangles of noise: what they hide goes from the ground truth too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detect.data.augmentation.copy_paste import hide
from detect.data.augmentation.cutout import MOST, SIDES, cut_out
from detect.data.augmentation.ground_truth import GroundTruth

HW = (60, 90)
BOX = (20, 10, 60, 50)


def ground_truth(*, is_crowd: bool = False, with_masks: bool = True) -> GroundTruth:
    """One rectangle."""
    x0, y0, x1, y1 = BOX
    mask = np.zeros(HW, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return GroundTruth(np.float32([BOX]), np.array([7]), np.array([is_crowd]), [mask] if with_masks else None)


def hidden(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    area = np.zeros(HW, bool)
    area[y0:y1, x0:x1] = True
    return area


PLACES = {
    "beside it": ((0, 0, 15, 60), BOX),
    "a corner": ((0, 0, 40, 30), BOX),
    "a hole": ((30, 20, 50, 40), BOX),
    "its left half": ((0, 0, 40, 60), (40, 10, 60, 50)),
    "its right half": ((40, 0, 90, 60), (20, 10, 40, 50)),
    "its upper half": ((0, 0, 90, 30), (20, 30, 60, 50)),
    "its lower half": ((0, 30, 90, 60), (20, 10, 60, 30)),
    "all but its lowest fifth": ((0, 0, 90, 42), (20, 42, 60, 50)),
    "all but less": ((0, 0, 90, 43), None),
    "all": ((0, 0, 90, 60), None),
}


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_boxes_go_around_what_is_seen_of_an_object(place, with_masks):
    area, box = PLACES[place]
    left = hide(ground_truth(with_masks=with_masks), hidden(*area))
    assert left.boxes.tolist() == ([] if box is None else [list(box)])
    assert left.labels.tolist() == ([] if box is None else [7]) and len(left.iscrowd) == len(left.boxes)
    if with_masks and box is not None:
        assert not (left.masks[0] & hidden(*area)).any()
        assert left.masks[0].sum() == (ground_truth().masks[0] & ~hidden(*area)).sum()
    assert left.complete == (place != "all but less"), "a sliver may still be seen"


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_crowd_stays_as_long_as_any_of_it_is_seen(with_masks):
    crowd = ground_truth(is_crowd=True, with_masks=with_masks)
    assert hide(crowd, hidden(0, 0, 90, 48)).boxes.tolist() == [[20, 48, 60, 50]]
    assert len(hide(crowd, hidden(0, 0, 90, 60)).boxes) == 0


def test_a_box_that_nothing_hides_keeps_its_fractions_and_so_do_the_sides_that_are_seen():
    exact = replace(ground_truth(with_masks=False), boxes=np.float32([[20.3, 10.6, 60.2, 49.7]]))
    np.testing.assert_array_equal(hide(exact, hidden(0, 0, 20, 60)).boxes, exact.boxes)
    np.testing.assert_array_equal(hide(exact, hidden(0, 0, 40, 60)).boxes, np.float32([[40, 10.6, 60.2, 49.7]]))


def test_the_noise_is_small_and_what_is_not_under_it_stays():
    image = np.full((*HW, 3), 60, np.uint8)
    shares = []
    for seed in range(40):
        given = ground_truth()
        result, left = cut_out(image, given, np.random.default_rng(seed))
        noisy = (result != 60).any(axis=2)
        shares.append(noisy.mean())
        assert not (left.masks[0] & noisy).any() if left.masks else True
        np.testing.assert_array_equal(given.masks[0], ground_truth().masks[0])
    assert (image == 60).all()
    assert min(shares) > 0 and max(shares) < MOST * SIDES[1] ** 2 * 1.1 and len(set(shares)) > 30
