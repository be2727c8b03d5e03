"""A fake predictor, for tests of the code around the model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from detect.inference.finished_images import RECORD
from detect.inference.tiling import Tiling
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_size import InputSize, max_long_side, resized_hw

NAMES = ClassNames(("balloon", "kite"), (7, 9))


class FakePredictor:
    """Detects one balloon and one kite in every image.

    batches: sizes of the batches it was called with.
    interrupt_at: number of the call, from 1, that raises KeyboardInterrupt.
    max_detections: images reach this limit if it is 2 or less.
    """

    class_names = NAMES
    threshold = 0.5
    class_thresholds = dict.fromkeys(NAMES.names, threshold)
    imgsz = 480
    precision, proposals = "fp32", None
    nms, one_label_per_object, tile = 0.5, False, None
    training_shrink: float | None = 1.0
    training_object_side: float | None = None
    name, path = "fake", None
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.interrupt_at = sys.maxsize
        self.max_detections = 100

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.tile, InputSize(self.imgsz, max_long_side(self.imgsz)), self.training_shrink)

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return resized_hw(image_hw, self.imgsz)

    def predict_batch(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]:
        self.batches.append(len(images))
        if len(self.batches) == self.interrupt_at:
            raise KeyboardInterrupt
        results = []
        for image in images:
            assert image.dtype == np.uint8 and image.shape[2] == 3
            h, w = image.shape[:2]
            boxes = np.array([[1, 1, w / 2, h / 2], [w / 4, h / 4, w - 1, h - 1]], np.float32)
            scores, all_labels = np.array([0.91, 0.6], np.float32), np.array([1, 2])
            limit = {"class_names": NAMES, "limit_reached": len(scores) >= self.max_detections}
            every = Detections((h, w), boxes, scores, all_labels, **limit)
            results.append(every.filter(self.threshold if threshold is None else threshold, labels))
        return results


def files(folder: Path) -> list[str]:
    """Relative paths of all files below ``folder``, sorted, but for the record of the finished images."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != RECORD)
    return sorted(found)
