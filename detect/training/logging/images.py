"""Example images of the val split: the ground truth and the detections, for the same images in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from PIL import Image

from detect.data.dataset import read_record
from detect.data.image_problems import UnreadableImageError
from detect.media.drawing import draw
from detect.media.drawing_style import DrawingStyle
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import counted
from detect.training.data import evenly_spaced
from detect.training.logging.text_line import HEIGHT, text_line

NUM_EXAMPLES = 4
_MAX_SIDE = 640  # maximum long side of each half in pixels
_GAP = 6  # white pixels between the halves


def choose_examples(records: Sequence[ImageRecord], count: int = NUM_EXAMPLES) -> list[int]:
    """Return the indices of up to ``count`` records, spread evenly over the records that have objects.

    Records without objects fill up the number if there are too few with objects. The choice is deterministic.
    """
    with_objects = [i for i, record in enumerate(records) if len(record)]
    without = [i for i, record in enumerate(records) if not len(record)]
    chosen = evenly_spaced(with_objects, count)
    return chosen + evenly_spaced(without, count - len(chosen))


def example_images(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections | None],
    class_names: ClassNames,
    chosen: Sequence[int],
) -> dict[str, np.ndarray]:
    """Return title -> image for the records with the indices ``chosen``, except for images that cannot be read.

    detections: one entry per record, None for an image that could not be read.
    """
    images = {}
    for number, i in enumerate(chosen, 1):
        found = detections[i]
        with suppress(UnreadableImageError):
            if found is not None:
                images[f"{number} {records[i].path.name}"] = draw_beside_ground_truth(records[i], found, class_names)
    return images


def draw_beside_ground_truth(
    record: ImageRecord, detections: Detections, class_names: ClassNames, threshold: float = DEFAULT_THRESHOLD
) -> np.ndarray:
    """Return an image with the ground truth and one with the detections (score at least ``threshold``), joined.

    uint8 RGB [H, W, 3]. The ground truth is on the left, or above if the image is wider than high. Each half has at
    most 640 pixels per side, and a line above it that says what it is. Raises DataError as ``read_record`` does.
    """
    halves = draw_ground_truth_and_detections(record, detections, class_names, threshold, _MAX_SIDE)
    height, width = halves[0].shape[:2]
    captions = (f"ground truth, {counted(len(record), 'object')}", f"detections from {threshold:g}")
    first, second = (
        np.concatenate([text_line(text, width), half]) for text, half in zip(captions, halves, strict=True)
    )
    axis, gap_hw = (0, (_GAP, width)) if width > height else (1, (height + HEIGHT, _GAP))
    return np.concatenate([first, np.full((*gap_hw, 3), 255, np.uint8), second], axis=axis)


def draw_ground_truth_and_detections(
    record: ImageRecord, detections: Detections, class_names: ClassNames, threshold: float, max_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image with the ground truth and one with the detections (score at least ``threshold``), each object in
    a color of its own.

    Both are uint8 RGB [H, W, 3] of equal size, shrunk to at most ``max_side`` pixels per side. Raises DataError as
    ``read_record`` does.
    """
    image = read_record(record, on_truncated=bool)  # the caller knows of truncated images
    found, objects = detections.filter(threshold), Detections.of_record(record)
    no_scores = DrawingStyle(hide_scores=True)
    return (
        _shrink(draw(image, objects, class_names, no_scores, color_instances=True), max_side),
        _shrink(draw(image, found, class_names, color_instances=True), max_side),
    )


def _shrink(image: np.ndarray, max_side: int) -> np.ndarray:
    shrunk = Image.fromarray(image)
    shrunk.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return np.asarray(shrunk)
