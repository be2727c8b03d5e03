"""Validation mosaic: images of the val split with their ground truth (left) and detections (right), as one image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath

import numpy as np

from detect.data.image_problems import UnreadableImageError
from detect.media.fonts import warn_of_missing_glyphs
from detect.models.checkpoint import DEFAULT_THRESHOLD
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.training.logging.images import draw_ground_truth_and_detections
from detect.training.logging.text_line import text_line

NUM_IMAGES = 8
_SIDE = 440  # maximum long side of each drawn image in pixels
_MARGIN, _GAP = 16, 6  # pixels between pairs, and within a pair
_MIN_WIDTH = 240  # of a pair, so that its file name can be read


def validation_mosaic(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections | None],
    class_names: ClassNames,
    chosen: Sequence[int],
    title: str = "",
    threshold: float = DEFAULT_THRESHOLD,
) -> np.ndarray | None:
    """Return an image, uint8 RGB [H, W, 3], with the ground truth (left) and the detections (right) of some records.

    detections: one entry per record; None for an image that could not be read, which is left out.
    chosen: indices of the records.  title: first words of the line at the top.
    threshold: minimum score of the detections that are drawn.
    Returns None if there is no image to draw.
    """
    pairs = []
    for i in chosen:
        found = detections[i]
        with suppress(UnreadableImageError):
            if found is not None:
                left, right = draw_ground_truth_and_detections(records[i], found, class_names, threshold, _SIDE)
                pairs.append(_labeled_pair(left, right, records[i].path))
    if not pairs:
        return None
    warn_of_missing_glyphs(records[i].path.name for i in chosen)
    rows = [_row(pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
    heading = f"{title}left: ground truth, right: detections with a score of at least {threshold:g}"
    return _stack([text_line(heading, max(row.shape[1] for row in rows)), *rows])


def _labeled_pair(left: np.ndarray, right: np.ndarray, path: PurePath) -> np.ndarray:
    """Return two images of equal size side by side, below the name of their file."""
    gap = np.full((left.shape[0], _GAP, 3), 255, np.uint8)
    pair = np.concatenate([left, gap, right], axis=1)
    missing = max(0, _MIN_WIDTH - pair.shape[1])
    pair = np.pad(pair, ((0, 0), (0, missing), (0, 0)), constant_values=255)
    return np.concatenate([text_line(path.name, pair.shape[1]), pair])


def _row(pairs: Sequence[np.ndarray]) -> np.ndarray:
    """Return pairs side by side in columns of the width that two drawn images can have."""
    height, width = max(pair.shape[0] for pair in pairs), 2 * _SIDE + _GAP
    cells = [
        np.pad(pair, ((0, height - pair.shape[0]), (0, width - pair.shape[1]), (0, 0)), constant_values=255)
        for pair in pairs
    ]
    return np.concatenate([np.pad(c, ((0, 0), (0, _MARGIN), (0, 0)), constant_values=255) for c in cells], axis=1)


def _stack(parts: Sequence[np.ndarray]) -> np.ndarray:
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, _MARGIN), (_MARGIN, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts
    ]
    return np.concatenate([np.full((_MARGIN, width + _MARGIN, 3), 255, np.uint8), *padded])
