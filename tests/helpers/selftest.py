"""A dataset of rectangles in the color of their class, and a predictor that finds them exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from detect.inference.predictor import Predictor
from detect.structures import masks
from detect.structures.detections import Detections
from helpers.scenes import SHAPES

COLORS = ((220, 30, 30), (30, 160, 60), (40, 60, 220))
GRAYS = ((30, 30, 30), (90, 90, 90), (230, 230, 230))
BACKGROUND, SIDE, HW = 128, 12, (60, 80)


def write_rectangles(folder: Path, images: int = 10, colors: Sequence[tuple[int, int, int]] = COLORS) -> Path:
    """Write images with one object of each class at random places. The first pixel is the number of the image."""
    rng = np.random.default_rng(1)
    (folder / "files").mkdir(parents=True)
    rows = []
    for number in range(images):
        pixels = np.full((*HW, 3), BACKGROUND, np.uint8)
        for label, color in enumerate(colors, start=1):
            x, y = rng.integers(2, 10) + 24 * (label - 1), rng.integers(2, HW[0] - SIDE - 2)
            x0, y0, x1, y1 = int(x), int(y), int(x) + SIDE, int(y) + SIDE
            pixels[y0:y1, x0:x1] = color
            row = {"id": len(rows) + 1, "image_id": number + 5, "category_id": SHAPES.category_id(label)}
            row |= {"bbox": [x0, y0, SIDE, SIDE], "area": SIDE * SIDE, "iscrowd": 0}
            rows.append(row | {"segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]})
        pixels[0, 0] = number
        Image.fromarray(pixels).save(folder / "files" / f"{number}.png")
    categories = [{"id": i, "name": n} for i, n in zip(SHAPES.ids, SHAPES.names, strict=True)]
    listed = [{"id": i + 5, "file_name": f"{i}.png", "height": HW[0], "width": HW[1]} for i in range(images)]
    content = {"images": listed, "annotations": rows, "categories": categories}
    (folder / "val.json").write_text(json.dumps(content))
    path = folder / "data.yaml"
    path.write_text(
        "name: rectangles\nformat: coco\nroot: .\nsplits:\n  val: {images: files, annotations: val.json}\n"
    )
    return path


class ColorDetector(Predictor):
    """Finds the rectangles of ``write_rectangles``. Broken detectors override ``detect`` or what Predictor offers."""

    colors: Sequence[tuple[int, int, int]] = COLORS

    def __init__(self) -> None:  # it has no model
        self.class_names, self.name, self.path = SHAPES, "colors", None
        self.runtime = SimpleNamespace(device=torch.device("cpu"))
        self.class_thresholds = dict.fromkeys(SHAPES.names, 0.5)

    def predict_batch(self, images, labels=None, threshold=None) -> list[Detections]:
        return [self.detect(image) for image in images]

    def detect(self, image: np.ndarray) -> Detections:
        boxes, labels, rles = [], [], []
        for label, color in enumerate(self.colors, start=1):
            bitmap = (image == color).all(axis=2)
            y, x = np.nonzero(bitmap)
            if len(x):
                boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
                labels.append(label)
                rles.append(masks.from_bitmap(bitmap))
        scores = np.linspace(0.9, 0.7, len(boxes), dtype=np.float32)
        return Detections(
            image.shape[:2],
            np.float32(boxes).reshape(-1, 4),
            scores,
            np.array(labels, np.int64),
            rles,
            class_names=self.class_names,
        )


def is_original(image: np.ndarray) -> bool:
    """Return whether an image of ``write_rectangles`` is not mirrored."""
    return bool(image[0, 0, 0] != BACKGROUND)
