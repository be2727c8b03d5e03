"""Windows and pasted objects: pixels, boxes and masks of an object stay together, and what hardly shows is let go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detect.data.augmentation.copy_paste import LEAST_VISIBLE, cut, paste_objects
from detect.data.augmentation.ground_truth import GroundTruth
from detect.structures import masks

HW = (60, 90)
BOXES = ((10, 10, 30, 30), (50, 20, 80, 50))


def scene(color: tuple[int, ...] = (200, 250), boxes=BOXES) -> tuple[np.ndarray, GroundTruth]:
    """Rectangles on gray, each of its own color, with masks; labels 1, 2, ..."""
    image = np.full((*HW, 3), 60, np.uint8)
    bitmaps = []
    for value, (x0, y0, x1, y1) in zip(color, boxes, strict=True):
        image[y0:y1, x0:x1] = value
        bitmaps.append(np.zeros(HW, np.uint8))
        bitmaps[-1][y0:y1, x0:x1] = 1
    none = np.zeros(len(boxes), bool)
    return image, GroundTruth(np.float32(boxes).reshape(-1, 4), np.arange(1, len(boxes) + 1), none, bitmaps)


def assert_together(image: np.ndarray, ground_truth: GroundTruth) -> None:
    """Every mask has the image's size, and its box is the tight one around it."""
    assert len(ground_truth.boxes) == len(ground_truth.labels) == len(ground_truth.iscrowd) == len(ground_truth.masks)
    for box, bitmap in zip(ground_truth.boxes, ground_truth.masks, strict=True):
        assert bitmap.shape == image.shape[:2] and bitmap.dtype == np.uint8 and bitmap.max() == 1
        np.testing.assert_array_equal(masks.box(masks.from_bitmap(bitmap)), box)


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_window_keeps_what_shows_and_moves_it(with_masks):
    image, ground_truth = scene()
    given = ground_truth if with_masks else replace(ground_truth, masks=None)
    part, left = cut(image, given, (20, 5, 70, 45))
    assert part.shape == (40, 50, 3)
    assert left.labels.tolist() == [1, 2]
    np.testing.assert_array_equal(left.boxes, [[0, 5, 10, 25], [30, 15, 50, 40]])
    assert (part[5:25, 0:10] == 200).all() and (part[15:40, 30:50] == 250).all()
    if with_masks:
        assert_together(part, left)
    else:
        assert left.masks is None


@pytest.mark.parametrize("with_masks", [True, False])
def test_a_window_lets_go_what_hardly_shows(with_masks):
    image, ground_truth = scene()
    given = ground_truth if with_masks else replace(ground_truth, masks=None)
    just, too_little = 30 - round(20 * LEAST_VISIBLE), 31 - round(20 * LEAST_VISIBLE)
    assert cut(image, given, (just, 0, 90, 60))[1].labels.tolist() == [1, 2]
    assert cut(image, given, (too_little, 0, 90, 60))[1].labels.tolist() == [2]
    empty = cut(image, given, (0, 52, 90, 60))[1]
    assert empty.boxes.shape == (0, 4) and empty.labels.shape == (0,) and not empty.masks


def test_pasted_objects_bring_their_pixels_masks_and_labels():
    image, ground_truth = scene()
    other, lent = scene((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    counts = []
    for seed in range(60):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        assert_together(result, both)
        pasted = [(b, v) for b, label, v in zip(both.masks[2:], both.labels[2:], (120, 0), strict=False) if label]
        counts.append(len(both.labels))
        if len(both.labels) == 4:  # nothing was let go, so the order is known
            assert both.labels.tolist() == [1, 2, 1, 2]
            for bitmap, value in pasted:
                inner = bitmap.astype(bool) & ~_rim(bitmap)
                assert (result[inner] == value).all()
        union = np.sum(both.masks, axis=0)
        assert union.max() <= 1, "what is covered belongs to the object on top alone"
    assert set(counts) >= {2, 3, 4}


def test_the_edge_of_a_pasted_object_is_soft_all_around():
    image, ground_truth = scene((), ())
    other, lent = scene((240,), ((30, 20, 50, 40),))
    for seed in range(20):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        if len(both.labels) and (both.masks[0].sum(), len(both.labels)) == (400, 1):
            x0, y0, x1, y1 = both.boxes[0].astype(int)
            if x0 > 1 and y0 > 1 and x1 < HW[1] - 1 and y1 < HW[0] - 1:
                row, column = result[(y0 + y1) // 2, :, 0].astype(int), result[:, (x0 + x1) // 2, 0].astype(int)
                assert row[x0 - 1 : x0 + 2].tolist() == column[y0 - 1 : y0 + 2].tolist() == [60, 180, 240]
                assert row[x1 - 2 : x1 + 1].tolist() == column[y1 - 2 : y1 + 1].tolist() == [240, 180, 60]
                return
    raise AssertionError("none was pasted whole")


def _rim(bitmap: np.ndarray) -> np.ndarray:
    """Pixels of the bitmap with a neighbour outside it, which are blended."""
    padded = np.pad(bitmap, 1)
    around = [
        padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    return bitmap.astype(bool) & (np.min(around, axis=0) == 0)


def test_objects_pasted_over_each_other_keep_tight_boxes_and_are_forgotten_when_covered():
    image, ground_truth = scene((), ())
    other, lent = scene((10, 20, 30, 40), ((2, 2, 30, 28), (32, 2, 60, 28), (2, 30, 30, 58), (32, 30, 60, 58)))
    counts = set()
    for seed in range(200):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        assert_together(result, both)
        assert np.sum(both.masks, axis=0).max() <= 1
        assert all(bitmap.sum() >= LEAST_VISIBLE**2 * 26 * 26 for bitmap in both.masks), (
            "at most cut off, then covered"
        )
        counts.add(len(both.labels))
    assert {1, 2, 3} <= counts


def decoys(complete: bool) -> int:
    """In how many of 200 images the ground of the lender (90) shows, which has one object of 10, labelled 1."""
    image, ground_truth = scene((200,), ((40, 25, 46, 31),))
    other, lent = scene((10,), ((10, 10, 30, 30),))
    other[other == 60] = 90
    lent = replace(lent, complete=complete)
    shown = 0
    for seed in range(200):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        is_decoy = (result == 90).any()
        assert not (is_decoy and (result == 10).any())  # one object was lent, or its shape
        if is_decoy:
            assert 2 not in both.labels and len(both.labels) <= 1, "a decoy has no label"
        shown += is_decoy
    return shown


def test_now_and_then_background_is_pasted_in_the_shape_of_an_object():
    assert 10 <= decoys(complete=True) <= 60
    assert decoys(complete=False) == 0, "what lies there could be an object that nobody labelled"


def test_a_window_that_leaves_a_sliver_of_an_object_says_so():
    image, ground_truth = scene()
    assert cut(image, ground_truth, (0, 0, 90, 60))[1].complete
    assert cut(image, ground_truth, (0, 52, 90, 60))[1].complete, "what is not in it at all is not missed"
    assert not cut(image, ground_truth, (28, 0, 90, 60))[1].complete


def test_objects_cut_by_the_edge_of_their_image_are_not_pasted():
    image, ground_truth = scene()
    other, lent = scene((10, 20), ((0, 5, 20, 25), (70, 40, 90, 60)))
    for seed in range(20):
        np.testing.assert_array_equal(
            paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))[0], image
        )


def test_what_is_covered_is_forgotten():
    """A pasted object larger than the only one below, at a place that covers it."""
    image, ground_truth = scene((200,), ((40, 25, 46, 31),))
    other, lent = scene((10,), ((10, 10, 40, 40),))
    labels = {
        tuple(paste_objects(image, ground_truth, other, lent, np.random.default_rng(s))[1].labels.tolist())
        for s in range(80)
    }
    assert labels == {(1,), (1, 1)}
    alone = [
        b
        for s in range(80)
        if len((b := paste_objects(image, ground_truth, other, lent, np.random.default_rng(s))[1]).labels) == 1
    ]
    assert any((b.boxes[0, 2:] - b.boxes[0, :2]).max() > 6 for b in alone), "only the pasted one is left in some"


def test_too_large_and_empty_objects_are_not_pasted():
    image, ground_truth = scene()
    other, lent = scene((10, 20), ((0, 0, 90, 50), (5, 5, 10, 10)))
    lent.masks[1][:] = 0
    for seed in range(20):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, image)
        assert both.labels.tolist() == [1, 2]


def test_the_images_themselves_are_left_as_they_were():
    image, ground_truth = scene()
    other, lent = scene((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    for seed in range(10):
        paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        cut(image, ground_truth, (20, 5, 70, 45))
    np.testing.assert_array_equal(image, scene()[0])
    np.testing.assert_array_equal(np.stack(ground_truth.masks), np.stack(scene()[1].masks))


def test_crowds_stay_while_any_of_them_is_seen_and_are_never_pasted():
    image, ground_truth = scene()
    crowd = replace(ground_truth, iscrowd=np.array([False, True]))
    for given in (crowd, replace(crowd, masks=None)):
        _, left = cut(image, given, (0, 0, 51, 60))
        assert left.labels.tolist() == [1, 2] and left.iscrowd.tolist() == [False, True]
        assert left.boxes[1].tolist() == [50, 20, 51, 50]
    other, lent = scene((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    lent = replace(lent, iscrowd=np.array([True, True]))
    for seed in range(20):
        result, both = paste_objects(image, crowd, other, lent, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, image)
        assert both.iscrowd.tolist() == [False, True]


def test_pasted_objects_are_no_crowds_and_cover_crowds_as_they_cover_all():
    image, ground_truth = scene()
    ground_truth = replace(ground_truth, iscrowd=np.array([True, True]))
    other, lent = scene((10,), ((10, 5, 60, 45),))
    kept = set()
    for seed in range(60):
        result, both = paste_objects(image, ground_truth, other, lent, np.random.default_rng(seed))
        assert_together(result, both)
        pasted = len(both.labels) - both.iscrowd.sum()
        assert both.iscrowd.tolist() == [True] * both.iscrowd.sum() + [False] * pasted
        kept.add((int(both.iscrowd.sum()), int(pasted)))
    assert {(2, 0), (2, 1)} <= kept
