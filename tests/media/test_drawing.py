"""Drawing of detections: positions, colors, labels, and sizes of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detect.errors import UsageError
from detect.media.drawing import MIN_KEYPOINT_SCORE, draw, gray_around
from detect.media.drawing_style import DrawingStyle
from detect.media.palette import color
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

ONE = ClassNames(("balloon",))
MANY = ClassNames(("person", "Fußgänger", "собака"))


def found(hw, boxes, labels=None, with_masks=False) -> Detections:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    rles = None
    if with_masks:
        rles = []
        for x0, y0, x1, y1 in boxes.astype(int):
            bitmap = np.zeros(hw, bool)
            bitmap[y0:y1, x0:x1] = True
            rles.append(masks.from_bitmap(bitmap))
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(hw, boxes, scores, np.array(labels or [1] * len(boxes), np.int64), rles)


def flat(hw, value=128) -> np.ndarray:
    return np.full((*hw, 3), value, np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before != after).any(axis=2)


def person(scores: np.ndarray) -> Detections:
    """One person, 17 points on a grid inside its box."""
    points = np.stack([20 + 10 * (np.arange(17) % 6), 20 + 20 * (np.arange(17) // 6), scores], axis=1)
    box = np.array([[10, 10, 90, 90]], np.float32)
    one = np.ones(1, np.float32), np.ones(1, np.int64)
    return Detections((100, 100), box, *one, keypoints=points[None].astype(np.float32))


def test_confident_keypoints_are_drawn_and_connected():
    sure = np.full(17, MIN_KEYPOINT_SCORE)
    without = draw(flat((100, 100)), Detections((100, 100), *astuple_of(person(sure))), ONE)
    drawn = changed(without, draw(flat((100, 100)), person(sure), ONE))
    for x, y, _ in person(sure).keypoints[0].astype(int):
        assert drawn[y, x]
    shoulders = person(sure).keypoints[0, 5:7, :2].mean(axis=0).astype(int)  # 5 and 6 are joined
    assert drawn[shoulders[1], shoulders[0]]
    np.testing.assert_array_equal(draw(flat((100, 100)), person(sure - 0.01), ONE), without)


def test_keypoint_without_its_neighbor_has_no_line():
    scores = np.full(17, MIN_KEYPOINT_SCORE - 1)
    scores[5] = 9
    before = draw(flat((100, 100)), person(scores - 99), ONE)
    drawn = changed(before, draw(flat((100, 100)), person(scores), ONE))
    x, y, _ = person(scores).keypoints[0, 5].astype(int)
    ys, xs = np.nonzero(drawn)
    assert len(ys) and np.abs(ys - y).max() <= 4 and np.abs(xs - x).max() <= 4


def astuple_of(found: Detections) -> tuple:
    return found.boxes, found.scores, found.labels


def test_image_without_detections_is_unchanged():
    image = flat((40, 60))
    drawn = draw(image, Detections((40, 60)), ONE)
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_input_image_is_not_modified():
    image = flat((100, 100))
    draw(image, found((100, 100), [[10, 40, 60, 90]], with_masks=True), ONE)
    assert (image == 128).all()


def test_box_outline_is_drawn_and_its_inside_is_not():
    image = flat((200, 200))
    where = changed(image, draw(image, found((200, 200), [[50, 60, 150, 160]]), ONE))
    assert where[60, 50:150].all() and where[160, 50:150].all()
    assert where[60:160, 50].all() and where[60:160, 150].all()
    assert not where[70:150, 60:140].any()
    assert not where[170:].any() and not where[:, 160:].any()


def test_mask_tints_its_pixels_transparently():
    image = flat((200, 200))
    image[:, ::2] = 200
    drawn = draw(image, found((200, 200), [[50, 60, 150, 160]], with_masks=True), ONE)
    inside = drawn[80:140, 70:130].astype(int)
    assert changed(image, drawn)[80:140, 70:130].all()
    assert (inside[:, 1::2].mean() != inside[:, ::2].mean()) and np.ptp(inside[..., 1]) > 20


@pytest.mark.parametrize("hw", [(48, 64), (64, 20), (1, 1), (9, 300), (480, 640), (2000, 3000)])
@pytest.mark.parametrize("ground", [0, 255])
def test_images_of_any_size_can_be_drawn_on(hw, ground):
    h, w = hw
    boxes = [[0, 0, w, h], [w * 0.9, h * 0.9, w, h], [w / 2, 0, w / 2, h], [-5, -5, w + 5, h + 5]]
    image = flat(hw, ground)
    drawn = draw(image, found(hw, boxes, [1, 2, 3, 1], with_masks=True), MANY)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert changed(image, drawn).any()


def test_label_lies_inside_the_image_at_every_edge():
    hw = (120, 200)
    plates = []
    for box in (
        [0, 0, 20, 20],
        [180, 0, 200, 20],
        [180, 100, 200, 120],
        [0, 100, 20, 120],
        [90, 60, 110, 80],
    ):
        image = flat(hw)
        where = changed(image, draw(image, found(hw, [box]), ONE))
        where[box[1] : box[3] + 1, box[0] : box[2] + 1] = False  # the plate may lie over the box
        plates.append(int(where.sum()))
    image = flat(hw)
    drawn = draw(image, found(hw, [[180, 100, 200, 120]]), ONE)
    rows, columns = np.nonzero(changed(image, drawn))
    assert columns.min() < 150 and rows.min() < 100, "moved to the left, and above its box"
    assert min(plates) > 0.6 * max(plates)


def test_labels_do_not_overlap_if_there_is_space():
    hw = (300, 300)
    image = flat(hw)
    both = draw(image, found(hw, [[100, 100, 200, 200], [100, 100, 201, 201]], [1, 2]), MANY)
    pixels = [(both == color(i)).all(axis=2).sum() for i in (0, 1)]
    assert min(pixels) > 300, "each plate can be seen"


@pytest.mark.parametrize("class_names", [ONE, MANY])
def test_color_depends_on_the_class_or_if_wanted_on_the_instance(class_names):
    hw, boxes = (200, 300), [[20, 50, 100, 150], [180, 50, 260, 150]]
    label = len(class_names)

    def colors(**options) -> list[int]:
        drawn = draw(flat(hw), found(hw, boxes, [label, label]), class_names, **options)
        return [i for i in range(5) if (drawn == color(i)).all(axis=2).any()]

    assert colors() == [label - 1]
    assert colors(color_instances=True) == [0, 1]


@pytest.mark.parametrize("class_names", [ONE, MANY])
@pytest.mark.parametrize("color_instances", [True, False])
def test_color_of_a_tracked_object_depends_on_its_track_alone(class_names, color_instances):
    boxes = [[10, 40, 40, 80], [60, 40, 90, 80]]
    for track_ids in ([5, 9], [9, 5]):
        tracked = replace(found((100, 100), boxes), track_ids=np.array(track_ids))
        drawn = draw(flat((100, 100)), tracked, class_names, color_instances=color_instances)
        assert [tuple(drawn[60, x]) for x in (10, 60)] == [color(track_id - 1) for track_id in track_ids]


@pytest.mark.parametrize(
    ("options", "missing"),
    [({"hide_boxes": True}, "box"), ({"hide_masks": True}, "mask"), ({"hide_labels": True}, "label"), ({}, None)],
)
def test_hidden_parts_are_not_drawn(options, missing):
    hw, bitmap = (200, 200), np.zeros((200, 200), bool)
    bitmap[90:130, 80:120] = True
    one = replace(found(hw, [[50, 60, 150, 160]]), masks=[masks.from_bitmap(bitmap)])
    drawn = changed(flat(hw), draw(flat(hw), one, ONE, DrawingStyle(**options)))
    parts = {"box": drawn[100:120, 50].all(), "mask": drawn[95:125, 85:115].all(), "label": drawn[:55].any()}
    assert [name for name, is_drawn in parts.items() if not is_drawn] == ([missing] if missing else [])


def test_label_without_score_is_shorter():
    image, one = flat((200, 300)), found((200, 300), [[50, 60, 250, 160]])
    drawn = [changed(image, draw(image, one, ONE, DrawingStyle(hide_scores=hidden)))[:55] for hidden in (False, True)]
    widths = [int(np.nonzero(label)[1].max()) for label in drawn]
    assert widths[1] < widths[0] - 10


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7])
def test_lines_of_boxes_have_the_given_width(width):
    style = DrawingStyle(line_width=width, hide_labels=True)
    drawn = draw(flat((400, 400)), found((400, 400), [[100, 100, 300, 300], [320, 320, 350, 350]]), ONE, style)
    for row in (200, 335):
        assert (drawn[row] == color(0)).all(axis=1).sum() == 2 * width


def test_wide_contours_do_not_hide_small_parts_of_a_mask():
    hw, bitmap = (400, 400), np.zeros((400, 400), bool)
    bitmap[50:350, 50:350] = True
    bitmap[200:216, 200:216] = False  # a hole, of the size of a wide line
    one = replace(found(hw, [[50, 50, 350, 350]]), masks=[masks.from_bitmap(bitmap)])
    drawn = draw(flat(hw), one, ONE, DrawingStyle(line_width=20, hide_labels=True, hide_boxes=True))
    is_line = (drawn[208] == color(0)).all(axis=1)
    assert not is_line[203:213].any() and is_line[50:55].all(), "the hole stays visible, the outer contour is wide"


def test_lines_are_wider_in_large_images_and_for_large_objects():
    def width(side: int, object_side: int) -> int:
        corner = side // 4
        one = found((side, side), [[corner, corner, corner + object_side, corner + object_side]])
        drawn = draw(flat((side, side)), one, ONE, DrawingStyle(hide_labels=True))
        return int((drawn[corner + object_side // 2] == color(0)).all(axis=1).sum()) // 2

    assert width(100, 50) == 1
    assert width(640, 20) < width(640, 300) < width(1500, 1000)
    assert width(1500, 40) < width(1500, 1000)


def test_captions_are_in_the_upper_left_corner_and_labels_do_not_hide_them():
    hw, captions = (300, 400), ["4 kites down", "2 kites up"]
    alone = draw(flat(hw), Detections(hw), ONE, captions=captions)
    area = changed(flat(hw), alone)
    assert area[0, 0] and not area[100:].any() and not area[:, 300:].any()
    both = draw(flat(hw), found(hw, [[2, 20, 90, 200]]), ONE, DrawingStyle(hide_boxes=True), captions=captions)
    np.testing.assert_array_equal(both[area], alone[area])


def test_masks_have_contours_of_the_full_color():
    drawn = draw(flat((200, 200)), found((200, 200), [[50, 60, 150, 160]], with_masks=True), ONE)
    inside, border = drawn[110, 100].astype(int), drawn[110, 50].astype(int)
    assert tuple(border) == color(0) and np.abs(inside - border).sum() > 60


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_small_objects_lie_on_top_of_large_ones(order):
    boxes, style = np.array([[80, 80, 120, 120], [20, 20, 180, 180]]), DrawingStyle(hide_labels=True)
    both = found((200, 200), boxes[order], [order[0] + 1, order[1] + 1], with_masks=True)
    assert tuple(draw(flat((200, 200)), both, MANY, style)[100, 80]) == color(0)


def test_detections_of_another_image_size_are_refused():
    with pytest.raises(UsageError, match=r"\(40, 60\).*\(60, 40\)"):
        draw(flat((60, 40)), Detections((40, 60)), ONE)


def test_without_tint_only_mask_contours_are_drawn():
    image, one = flat((200, 200)), found((200, 200), [[50, 60, 150, 160]], with_masks=True)
    where = changed(image, draw(image, one, ONE, tint=False))
    assert where[60, 50:150].all() and not where[90:130, 70:130].any()
    assert changed(image, draw(image, one, ONE))[90:130, 70:130].all()


@pytest.mark.parametrize("with_masks", [False, True])
def test_only_objects_keep_their_colors(with_masks):
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    before = image.copy()
    left = gray_around(image, found((60, 80), [[10, 20, 30, 40], [-5, 30, 25, 70]], with_masks=with_masks))
    on = np.zeros((60, 80), bool)
    on[20:40, 10:30] = on[30:60, 0:25] = True
    if with_masks:  # whose bitmap of a negative corner is empty
        on[:] = False
        on[20:40, 10:30] = True
    np.testing.assert_array_equal(left[on], image[on])
    assert (np.ptp(left[~on], axis=1) == 0).all() and left[~on].std() > 20
    np.testing.assert_array_equal(image, before)
    nothing = gray_around(image, Detections((60, 80)))
    assert (np.ptp(nothing, axis=2) == 0).all()
