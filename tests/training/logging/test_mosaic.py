"""The validation mosaic shows each image twice: with its ground truth on the left, with detections on the right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.training.logging.mosaic import validation_mosaic

CLASSES = ClassNames(("kite",))
GRAY = 128


def record(folder: Path, name: str, hw: tuple[int, int], boxes: list[list[float]]) -> ImageRecord:
    write_image(folder / name, np.full((*hw, 3), GRAY, np.uint8))
    n = len(boxes)
    return ImageRecord(
        path=folder / name,
        image_hw=hw,
        image_id=1,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.ones(n, np.int64),
        areas=np.ones(n),
        iscrowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
    )


def detections(hw: tuple[int, int], *scores: float) -> Detections:
    boxes = np.array([[10, 60, 100, 150]] * len(scores), np.float32).reshape(-1, 4)
    return Detections(hw, boxes, np.array(scores, np.float32), np.ones(len(scores), np.int64))


def grays(mosaic: np.ndarray) -> list[tuple[int, int]]:
    """Return (first, last) column of each run of gray pixels in the row of the mosaic with most of them."""
    rows = (mosaic == GRAY).all(axis=2)
    row = np.concatenate([[False], rows[rows.sum(axis=1).argmax()], [False]])
    edges = np.flatnonzero(np.diff(row.astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize(("annotated", "score"), [(True, None), (False, 0.9), (True, 0.4), (False, None)])
def test_ground_truth_is_on_the_left_and_detections_are_on_the_right(tmp_path, annotated, score):
    hw = (200, 300)
    one = record(tmp_path, "a.png", hw, [[10, 60, 100, 150]] * annotated)
    mosaic = validation_mosaic([one], [detections(hw, *([score] if score else []))], CLASSES, [0])
    (left, _), (right, _) = grays(mosaic)
    top = int((mosaic[:, left + 200] == GRAY).all(axis=1).argmax())
    halves = [mosaic[top : top + 200, start : start + 300] for start in (left, right)]
    drawn = [bool((half != GRAY).any()) for half in halves]
    assert drawn == [annotated, bool(score and score >= 0.5)]


@pytest.mark.parametrize("hw", [(2000, 1000), (1000, 2000), (40, 30), (3, 4000)])
def test_images_of_any_size_fit(tmp_path, hw):
    records = [record(tmp_path, f"{i}.png", hw, []) for i in range(3)]
    mosaic = validation_mosaic(records, [detections(hw)] * 3, CLASSES, [0, 1, 2], "epoch 3; ")
    height, width = mosaic.shape[:2]
    assert mosaic.dtype == np.uint8 and width < 1900 and height < 1200


def test_two_pairs_stand_in_a_row(tmp_path):
    hw = (100, 400)
    records = [record(tmp_path, f"{i}.png", hw, []) for i in range(8)]
    shapes = [validation_mosaic(records, [detections(hw)] * 8, CLASSES, range(n)).shape for n in (1, 2, 3, 8)]
    widths, heights = [w for _, w, _ in shapes], [h for h, _, _ in shapes]
    assert widths[0] < widths[1] == widths[2] == widths[3] and heights[0] == heights[1] < heights[2] < heights[3]


@pytest.mark.parametrize("name", ["猫 and a dog.png", "n" * 200 + ".png", "$x_1$.png"])
def test_file_names_are_written_above_whatever_they_are(tmp_path, name):
    hw = (60, 100)
    one = record(tmp_path, name, hw, [])
    mosaic = validation_mosaic([one], [detections(hw)], CLASSES, [0])
    left = grays(mosaic)[0][0]
    top = int((mosaic[:, left + 50] == GRAY).all(axis=1).argmax())
    assert (mosaic[top - 24 : top] < 100).any()


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    hw = (60, 100)
    records = [record(tmp_path, f"{i}.png", hw, []) for i in range(3)]
    records[1].path.unlink()
    expected = validation_mosaic([records[2]], [detections(hw)], CLASSES, [0])
    found = [None, detections(hw), detections(hw)]
    assert np.array_equal(validation_mosaic(records, found, CLASSES, [0, 1, 2]), expected)
    assert validation_mosaic(records, found, CLASSES, [0, 1]) is None
