"""Ground truth of cropped and partly covered images: boxes follow the visible part, hidden objects are removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.rectangles import HW, assert_consistent, rectangles

from detect.data.augmentation.ground_truth import MIN_VISIBLE, GroundTruth, cover, crop

BOX = (20, 10, 60, 50)


@pytest.mark.parametrize("with_masks", [True, False])
def test_crop_keeps_visible_objects_and_shifts_their_boxes(with_masks):
    image, ground_truth = rectangles()
    given = ground_truth if with_masks else replace(ground_truth, masks=None)
    part, cropped = crop(image, given, (20, 5, 70, 45))
    assert part.shape == (40, 50, 3)
    assert cropped.labels.tolist() == [1, 2]
    np.testing.assert_array_equal(cropped.boxes, [[0, 5, 10, 25], [30, 15, 50, 40]])
    assert (part[5:25, 0:10] == 200).all() and (part[15:40, 30:50] == 250).all()
    if with_masks:
        assert_consistent(part, cropped)
    else:
        assert cropped.masks is None


@pytest.mark.parametrize("with_masks", [True, False])
def test_crop_removes_objects_below_the_visibility_threshold(with_masks):
    image, ground_truth = rectangles()
    given = ground_truth if with_masks else replace(ground_truth, masks=None)
    enough, too_little = 30 - round(20 * MIN_VISIBLE), 31 - round(20 * MIN_VISIBLE)
    assert crop(image, given, (enough, 0, 90, 60))[1].labels.tolist() == [1, 2]
    assert crop(image, given, (too_little, 0, 90, 60))[1].labels.tolist() == [2]
    empty = crop(image, given, (0, 52, 90, 60))[1]
    assert empty.boxes.shape == (0, 4) and empty.labels.shape == (0,) and not empty.masks


def test_crop_that_leaves_a_sliver_of_an_object_is_not_complete():
    image, ground_truth = rectangles()
    assert crop(image, ground_truth, (0, 0, 90, 60))[1].complete
    assert crop(image, ground_truth, (0, 52, 90, 60))[1].complete, "objects outside the window leave no sliver"
    assert not crop(image, ground_truth, (28, 0, 90, 60))[1].complete


def test_crop_keeps_any_visible_part_of_a_crowd():
    image, ground_truth = rectangles()
    crowd = replace(ground_truth, iscrowd=np.array([False, True]))
    for given in (crowd, replace(crowd, masks=None)):
        _, cropped = crop(image, given, (0, 0, 51, 60))
        assert cropped.labels.tolist() == [1, 2] and cropped.iscrowd.tolist() == [False, True]
        assert cropped.boxes[1].tolist() == [50, 20, 51, 50]


def test_crop_changes_neither_image_nor_ground_truth():
    image, ground_truth = rectangles()
    crop(image, ground_truth, (20, 5, 70, 45))
    np.testing.assert_array_equal(image, rectangles()[0])
    np.testing.assert_array_equal(np.stack(ground_truth.masks), np.stack(rectangles()[1].masks))


def one_object(*, is_crowd: bool = False, with_masks: bool = True) -> GroundTruth:
    """Return the ground truth of a single rectangle with the label 7."""
    x0, y0, x1, y1 = BOX
    mask = np.zeros(HW, np.uint8)
    mask[y0:y1, x0:x1] = 1
    return GroundTruth(np.float32([BOX]), np.array([7]), np.array([is_crowd]), [mask] if with_masks else None)


def covered(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    area = np.zeros(HW, bool)
    area[y0:y1, x0:x1] = True
    return area


# Name -> covered rectangle, and the box of the visible part or None.
COVERED = {
    "beside the object": ((0, 0, 15, 60), BOX),
    "a corner": ((0, 0, 40, 30), BOX),
    "a hole": ((30, 20, 50, 40), BOX),
    "the left half": ((0, 0, 40, 60), (40, 10, 60, 50)),
    "the right half": ((40, 0, 90, 60), (20, 10, 40, 50)),
    "the upper half": ((0, 0, 90, 30), (20, 30, 60, 50)),
    "the lower half": ((0, 30, 90, 60), (20, 10, 60, 30)),
    "all but a fifth": ((0, 0, 90, 42), (20, 42, 60, 50)),
    "all but less than a fifth": ((0, 0, 90, 43), None),
    "all": ((0, 0, 90, 60), None),
}


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("name", COVERED)
def test_boxes_are_tight_around_the_uncovered_part_of_an_object(name, with_masks):
    area, box = COVERED[name]
    visible = cover(one_object(with_masks=with_masks), covered(*area))
    assert visible.boxes.tolist() == ([] if box is None else [list(box)])
    assert visible.labels.tolist() == ([] if box is None else [7]) and len(visible.iscrowd) == len(visible.boxes)
    if with_masks and box is not None:
        assert not (visible.masks[0] & covered(*area)).any()
        assert visible.masks[0].sum() == (one_object().masks[0] & ~covered(*area)).sum()
    assert visible.complete == (name != "all but less than a fifth"), "a sliver may be visible"


@pytest.mark.parametrize("with_masks", [True, False])
def test_crowd_is_kept_while_any_part_is_uncovered(with_masks):
    crowd = one_object(is_crowd=True, with_masks=with_masks)
    assert cover(crowd, covered(0, 0, 90, 48)).boxes.tolist() == [[20, 48, 60, 50]]
    assert len(cover(crowd, covered(0, 0, 90, 60)).boxes) == 0


def test_uncovered_sides_of_a_box_keep_their_fractional_coordinates():
    exact = replace(one_object(with_masks=False), boxes=np.float32([[20.3, 10.6, 60.2, 49.7]]))
    np.testing.assert_array_equal(cover(exact, covered(0, 0, 20, 60)).boxes, exact.boxes)
    np.testing.assert_array_equal(cover(exact, covered(0, 0, 40, 60)).boxes, np.float32([[40, 10.6, 60.2, 49.7]]))
