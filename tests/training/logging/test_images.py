"""Example images show the ground truth and the detections, for the same images in every epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.errors import DataError
from detect.media.images import write_image
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.training.logging import images
from detect.training.logging.text_line import HEIGHT

CLASSES = ClassNames(("kite", "bird"))
HW = (90, 120)


def record(path: Path, boxes: list[list[float]], hw: tuple[int, int] = HW, with_masks: bool = False) -> ImageRecord:
    n = len(boxes)
    shapes = None
    if with_masks:
        shapes = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes]
    return ImageRecord(
        path=path,
        image_hw=hw,
        image_id=1,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.ones(n, np.int64),
        areas=np.ones(n),
        iscrowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
        masks=shapes,
    )


def split(*counts: int) -> list[ImageRecord]:
    return [record(Path(f"{i}.png"), [[1, 1, 9, 9]] * count) for i, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ([1] * 10, [0, 3, 6, 9]),
        ([1, 0, 2, 0, 3], [0, 2, 4, 1]),
        ([0, 1, 0, 1, 1, 1, 0, 1, 1], [1, 4, 5, 8]),
        ([0, 0, 5, 0, 0], [2, 0, 3, 4]),
        ([1, 1], [0, 1]),
        ([0], [0]),
        ([], []),
    ],
)
def test_examples_are_spread_evenly_over_images_with_objects(counts, chosen):
    assert images.choose_examples(split(*counts)) == chosen


def detections(scores: list[float], hw: tuple[int, int] = HW) -> Detections:
    boxes = np.array([[10 + 20 * i, 10, 25 + 20 * i, 40] for i in range(len(scores))], np.float32).reshape(-1, 4)
    return Detections(hw, boxes, np.array(scores, np.float32), np.full(len(scores), 2, np.int64))


@pytest.fixture
def gray(tmp_path) -> Path:
    write_image(tmp_path / "gray.png", np.full((*HW, 3), 128, np.uint8))
    return tmp_path / "gray.png"


def halves(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split an image wider than high into the ground truth (top) and the detections (bottom)."""
    height = HEIGHT + HW[0]
    assert image.shape == (2 * height + 6, HW[1], 3) and (image[height : height + 6] == 255).all()
    above, below = image[:height], image[height + 6 :]
    assert (above[:HEIGHT] != below[:HEIGHT]).any()  # a caption each
    return above[HEIGHT:], below[HEIGHT:]


def is_drawn_on(half: np.ndarray) -> bool:
    return bool((half != 128).any())


@pytest.mark.parametrize(("scores", "boxes"), [([0.9], []), ([0.4], [[5, 5, 50, 50]]), ([], [])])
def test_ground_truth_is_above_and_detections_are_below(gray, scores, boxes):
    above, below = halves(images.draw_beside_ground_truth(record(gray, boxes), detections(scores), CLASSES))
    assert is_drawn_on(above) == bool(boxes)
    assert is_drawn_on(below) == any(score >= 0.5 for score in scores)


def test_masks_are_drawn(gray):
    box = [20.0, 20.0, 100.0, 80.0]
    bitmap = np.zeros(HW, bool)
    bitmap[20:80, 20:100] = True
    one = Detections(
        HW, np.array([box], np.float32), np.ones(1, np.float32), np.ones(1, np.int64), [masks.from_bitmap(bitmap)]
    )
    above, below = halves(images.draw_beside_ground_truth(record(gray, [box], with_masks=True), one, CLASSES))
    assert (above[50, 60] != 128).any() and (above[50, 60] == below[50, 60]).all()


@pytest.mark.parametrize(
    ("hw", "size"),
    [
        ((2000, 1000), (HEIGHT + 640, 2 * 320 + 6)),
        ((1000, 2000), (2 * (HEIGHT + 320) + 6, 640)),
        ((50, 50), (HEIGHT + 50, 106)),
    ],
)
def test_large_images_are_shrunk_and_small_ones_are_not(tmp_path, hw, size):
    write_image(tmp_path / "x.png", np.zeros((*hw, 3), np.uint8))
    shown = images.draw_beside_ground_truth(record(tmp_path / "x.png", [], hw), detections([], hw), CLASSES)
    assert shown.dtype == np.uint8 and shown.shape == (*size, 3)


def test_images_of_the_same_name_get_different_titles(gray):
    records = [record(gray, [[5, 5, 50, 50]])] * 3
    shown = images.example_images(records, [detections([0.9])] * 3, CLASSES, [2, 0])
    assert list(shown) == ["1 gray.png", "2 gray.png"]


def test_an_image_whose_size_differs_from_its_annotations_is_an_error(gray):
    with pytest.raises(DataError):
        images.draw_beside_ground_truth(record(gray, [], (9, 9)), detections([], (9, 9)), CLASSES)
