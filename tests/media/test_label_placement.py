"""Labels overlap no other label, lie inside the image, and hide few objects."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest

from detect.media.label_placement import place_labels

HW = (480, 640)


def place(
    boxes, size_wh=(60, 16), hw=HW, needed=(), taken=(), variants=(1.0,)
) -> list[tuple[int, int, int, int] | None]:
    """Return the rectangle (xyxy) of each label."""
    boxes = np.array(boxes).reshape(-1, 4)
    sizes = np.rint(np.array(size_wh) * np.array(variants)[:, None]).astype(int)
    sizes = np.broadcast_to(sizes, (len(boxes), *sizes.shape))
    costs = np.broadcast_to(0.04 * np.arange(len(variants)), (len(boxes), len(variants)))
    is_needed = np.isin(np.arange(len(boxes)), needed)
    order = list(range(len(boxes)))
    places = place_labels(boxes, sizes, costs, order, is_needed, hw, 3.0, taken)
    return [
        None if place is None else (place[1], place[2], *(np.array(place[1:]) + sizes[i, place[0]]).tolist())
        for i, place in enumerate(places)
    ]


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def crowd(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    center, size = rng.random((count, 2)) * [640, 480], np.exp(rng.normal(3.7, 0.6, (count, 2)))
    return np.concatenate([center - size / 2, center + size / 2], axis=1).clip(0, [640, 480, 640, 480]).astype(int)


@pytest.mark.parametrize("count", [2, 60, 300])
def test_labels_never_overlap_and_lie_inside_the_image(count):
    for seed in range(3):
        labels = [one for one in place(crowd(count, seed), variants=(1, 0.7)) if one is not None]
        assert len(labels) >= min(count, 20)
        assert not any(overlap(a, b) for a, b in combinations(labels, 2))
        assert min(map(min, labels)) >= 0 and all(x1 <= 640 and y1 <= 480 for _, _, x1, y1 in labels)


def test_label_of_a_single_object_is_above_its_box():
    assert place([[100, 200, 300, 400]]) == [(100, 184, 160, 200)]


@pytest.mark.parametrize("box", [[0, 0, 60, 60], [580, 0, 640, 60], [0, 420, 60, 480], [580, 420, 640, 480]])
def test_label_at_the_border_of_the_image_touches_its_box(box):
    (label,) = place([box])
    grown = [box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1]
    assert label is not None and overlap(label, grown)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_equal_boxes_all_have_a_label_where_there_is_space(count):
    labels = place([[200, 200, 400, 400]] * count)
    assert None not in labels and not any(overlap(a, b) for a, b in combinations(labels, 2))


def test_label_that_would_hide_a_neighbor_moves_to_another_side():
    small = [105, 180, 150, 198]  # where the label of the first box would be
    label, _ = place([[100, 200, 300, 400], small])
    assert label is not None and not overlap(label, small)


def test_label_that_would_hide_its_neighbors_everywhere_is_left_out_unless_it_is_needed():
    cells = [[10 * x, 10 * y, 10 * x + 9, 10 * y + 9] for y in range(48) for x in range(64)]
    middle = 24 * 64 + 32
    boxes = [cells[middle], *cells[:middle], *cells[middle + 1 :]]
    assert place(boxes)[0] is None
    assert place(boxes, (20, 6))[0] is None
    assert place(boxes, (9, 8), needed=[0])[0] is not None


def test_smaller_letters_are_used_where_the_large_ones_hide_too_much():
    cells = [[10 * x, 10 * y, 10 * x + 9, 10 * y + 9] for y in range(4, 9) for x in range(4, 12)]
    boxes = [cells[20], *cells[:20], *cells[21:]]
    (large, *_), (small, *_) = (place(boxes, variants=variants) for variants in ((1,), (1, 0.1)))
    assert large is None and small is not None and small[2] - small[0] == 6


def test_taken_places_are_left_free():
    taken = (0, 0, 640, 200)
    (label,) = place([[100, 200, 300, 400]], taken=[taken])
    assert label is not None and not overlap(label, taken)


@pytest.mark.parametrize("hw", [(1, 1), (10, 30), (5, 200)])
def test_labels_larger_than_the_image_begin_at_its_corner(hw):
    (label,) = place([[0, 0, hw[1], hw[0]]], (60, 16), hw, needed=[0])
    assert label is not None and label[:2] == (0, 0)


def test_time_grows_with_the_number_of_objects_and_not_with_its_square():
    def seconds(count: int) -> float:
        boxes, times = crowd(count, 0), []
        for _ in range(3):
            start = time.process_time()
            place(boxes, variants=(1, 0.8, 0.6))
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(1600) < 24 * seconds(200)
