"""A few images of a split with what a model finds in them beside what is true, to be looked at epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from detect.data.dataset import read_record
from detect.media.drawing import draw
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

COUNT = 4
_SIDE = 640  # pixels that the long side of each half has at most
_GAP = 6  # white pixels between the halves


def choose(records: Sequence[ImageRecord], count: int = COUNT) -> list[int]:
    """Positions of up to ``count`` records, always the same: spread evenly over those with objects, and where these
    are too few over those without."""
    filled = [i for i, record in enumerate(records) if len(record)]
    empty = [i for i, record in enumerate(records) if not len(record)]
    chosen = _spread(filled, count)
    return chosen + _spread(empty, count - len(chosen))


def images(
    records: Sequence[ImageRecord], found: Sequence[Detections], class_names: ClassNames, chosen: Sequence[int]
) -> dict[str, np.ndarray]:
    """Those at ``chosen`` by their titles, each as of ``beside_ground_truth``; ``found``: one for each record."""
    return {
        f"{place} {records[i].path.name}": beside_ground_truth(records[i], found[i], class_names)
        for place, i in enumerate(chosen, 1)
    }


def beside_ground_truth(
    record: ImageRecord, found: Detections, class_names: ClassNames, threshold: float = DEFAULT_THRESHOLD
) -> np.ndarray:
    """uint8 RGB [h, w, 3]: what scores at least ``threshold``, and what is true to the right of it, or below it where
    the image is wider than high. Each has at most 640 pixels a side. DataError as of ``read_record``."""
    image = read_record(record)
    coded = None if record.masks is None else [masks.from_coco(mask, record.image_hw) for mask in record.masks]
    ground_truth = Detections(record.image_hw, record.boxes, np.ones(len(record), np.float32), record.labels, coded)
    halves = (
        _shrunk(draw(image, found.filter(threshold), class_names)),
        _shrunk(draw(image, ground_truth, class_names, show_scores=False)),
    )
    height, width = halves[0].shape[:2]
    axis, gap_hw = (0, (_GAP, width)) if width > height else (1, (height, _GAP))
    return np.concatenate([halves[0], np.full((*gap_hw, 3), 255, np.uint8), halves[1]], axis=axis)


def _shrunk(image: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _spread(items: Sequence[int], count: int) -> list[int]:
    """``count`` of them at equal distances, the first and the last among them; all where there are no more."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]
