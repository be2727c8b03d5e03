"""Copy-paste: pasted objects bring pixels, boxes, masks and labels; covered objects are cut or removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers.rectangles import HW, assert_consistent, rectangles

from detect.data.augmentation.copy_paste import paste_objects
from detect.data.augmentation.ground_truth import MIN_VISIBLE


def test_pasted_objects_have_their_pixels_masks_and_labels():
    image, ground_truth = rectangles()
    source, pastable = rectangles((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    counts = []
    for seed in range(60):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        assert_consistent(result, both)
        pasted = [(b, v) for b, label, v in zip(both.masks[2:], both.labels[2:], (120, 0), strict=False) if label]
        counts.append(len(both.labels))
        if len(both.labels) == 4:  # no object was removed, so the order is known
            assert both.labels.tolist() == [1, 2, 1, 2]
            for bitmap, value in pasted:
                inner = bitmap.astype(bool) & ~_rim(bitmap)
                assert (result[inner] == value).all()
        union = np.sum(both.masks, axis=0)
        assert union.max() <= 1, "a pixel belongs to the uppermost object only"
    assert set(counts) >= {2, 3, 4}


def test_edge_of_a_pasted_object_is_blended_on_all_sides():
    image, ground_truth = rectangles((), ())
    source, pastable = rectangles((240,), ((30, 20, 50, 40),))
    for seed in range(20):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        if len(both.labels) and (both.masks[0].sum(), len(both.labels)) == (400, 1):
            x0, y0, x1, y1 = both.boxes[0].astype(int)
            if x0 > 1 and y0 > 1 and x1 < HW[1] - 1 and y1 < HW[0] - 1:
                row, column = result[(y0 + y1) // 2, :, 0].astype(int), result[:, (x0 + x1) // 2, 0].astype(int)
                assert row[x0 - 1 : x0 + 2].tolist() == column[y0 - 1 : y0 + 2].tolist() == [60, 180, 240]
                assert row[x1 - 2 : x1 + 1].tolist() == column[y1 - 2 : y1 + 1].tolist() == [240, 180, 60]
                return
    raise AssertionError("no object was pasted completely inside the image")


def _rim(bitmap: np.ndarray) -> np.ndarray:
    """Return the pixels of the bitmap with a neighbor outside it; these are blended."""
    padded = np.pad(bitmap, 1)
    around = [
        padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    ]
    return bitmap.astype(bool) & (np.min(around, axis=0) == 0)


def test_overlapping_pasted_objects_keep_tight_boxes_or_are_removed():
    image, ground_truth = rectangles((), ())
    source, pastable = rectangles(
        (10, 20, 30, 40), ((2, 2, 30, 28), (32, 2, 60, 28), (2, 30, 30, 58), (32, 30, 60, 58))
    )
    counts = set()
    for seed in range(200):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        assert_consistent(result, both)
        assert np.sum(both.masks, axis=0).max() <= 1
        assert all(bitmap.sum() >= MIN_VISIBLE**2 * 26 * 26 for bitmap in both.masks), (
            "cut by the border, then covered"
        )
        counts.add(len(both.labels))
    assert {1, 2, 3} <= counts


def decoys(complete: bool) -> int:
    """Return in how many of 200 images background of the source image was pasted instead of its only object."""
    image, ground_truth = rectangles((200,), ((40, 25, 46, 31),))
    source, pastable = rectangles((10,), ((10, 10, 30, 30),))
    source[source == 60] = 90
    pastable = replace(pastable, complete=complete)
    shown = 0
    for seed in range(200):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        is_decoy = (result == 90).any()
        assert not (is_decoy and (result == 10).any())  # either the object or background in its shape
        if is_decoy:
            assert 2 not in both.labels and len(both.labels) <= 1, "a decoy has no label"
        shown += is_decoy
    return shown


def test_background_is_sometimes_pasted_in_the_shape_of_an_object():
    assert 10 <= decoys(complete=True) <= 60
    assert decoys(complete=False) == 0, "the background may hold an object without annotation"


def test_objects_cut_by_the_image_border_are_not_pasted():
    image, ground_truth = rectangles()
    source, pastable = rectangles((10, 20), ((0, 5, 20, 25), (70, 40, 90, 60)))
    for seed in range(20):
        np.testing.assert_array_equal(
            paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))[0], image
        )


def test_completely_covered_object_is_removed():
    image, ground_truth = rectangles((200,), ((40, 25, 46, 31),))
    source, pastable = rectangles((10,), ((10, 10, 40, 40),))
    labels = {
        tuple(paste_objects(image, ground_truth, source, pastable, np.random.default_rng(s))[1].labels.tolist())
        for s in range(80)
    }
    assert labels == {(1,), (1, 1)}
    alone = [
        b
        for s in range(80)
        if len((b := paste_objects(image, ground_truth, source, pastable, np.random.default_rng(s))[1]).labels) == 1
    ]
    assert any((b.boxes[0, 2:] - b.boxes[0, :2]).max() > 6 for b in alone), (
        "in some images only the pasted object remains"
    )


def test_very_large_and_empty_objects_are_not_pasted():
    image, ground_truth = rectangles()
    source, pastable = rectangles((10, 20), ((0, 0, 90, 50), (5, 5, 10, 10)))
    pastable.masks[1][:] = 0
    for seed in range(20):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, image)
        assert both.labels.tolist() == [1, 2]


def test_given_images_stay_unchanged():
    image, ground_truth = rectangles()
    source, pastable = rectangles((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    for seed in range(10):
        paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, rectangles()[0])
    np.testing.assert_array_equal(np.stack(ground_truth.masks), np.stack(rectangles()[1].masks))


def test_crowds_are_never_pasted():
    image, ground_truth = rectangles()
    crowd = replace(ground_truth, iscrowd=np.array([False, True]))
    source, pastable = rectangles((120, 0), ((2, 2, 12, 20), (40, 40, 60, 44)))
    pastable = replace(pastable, iscrowd=np.array([True, True]))
    for seed in range(20):
        result, both = paste_objects(image, crowd, source, pastable, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, image)
        assert both.iscrowd.tolist() == [False, True]


def test_pasted_objects_are_no_crowds_and_cover_crowds():
    image, ground_truth = rectangles()
    ground_truth = replace(ground_truth, iscrowd=np.array([True, True]))
    source, pastable = rectangles((10,), ((10, 5, 60, 45),))
    kept = set()
    for seed in range(60):
        result, both = paste_objects(image, ground_truth, source, pastable, np.random.default_rng(seed))
        assert_consistent(result, both)
        pasted = len(both.labels) - both.iscrowd.sum()
        assert both.iscrowd.tolist() == [True] * both.iscrowd.sum() + [False] * pasted
        kept.add((int(both.iscrowd.sum()), int(pasted)))
    assert {(2, 0), (2, 1)} <= kept
