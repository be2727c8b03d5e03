"""One image and its ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.structures.masks import Polygons, Rle


@dataclass(frozen=True)
class ImageRecord:
    """One image and its N annotated objects, the same for every annotation format.

    path: file of the image.
    image_hw: (height, width) in pixels, EXIF orientation applied.
    image_id: id of the image in its dataset, unique in a split.
    boxes: float32 [N, 4], xyxy, absolute pixels.
    labels: int64 [N], 1..K.
    areas: float64 [N], square pixels, as annotated: area of the mask or of the box.
    iscrowd: bool [N], whether the annotation is a region of many objects (COCO's "crowd").
    annotation_ids: int64 [N], ids of the annotations in their file.
    masks: N masks, each polygons or an RLE; None in a dataset without masks.

    Raises ValueError, with the path, if the parts have different lengths or ``boxes`` has the wrong type or shape.
    """

    path: Path
    image_hw: tuple[int, int]
    image_id: int
    boxes: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    iscrowd: np.ndarray
    annotation_ids: np.ndarray
    masks: list[Polygons | Rle] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __post_init__(self) -> None:
        n = len(self.boxes)
        parts = ("labels", "areas", "iscrowd", "annotation_ids", *(() if self.masks is None else ("masks",)))
        for name in parts:
            if len(getattr(self, name)) != n:
                raise ValueError(f"{self.path}: {n} boxes but {len(getattr(self, name))} {name}")
        if self.boxes.shape != (n, 4) or self.boxes.dtype != np.float32:
            raise ValueError(f"{self.path}: boxes must be float32 [N, 4], not {self.boxes.dtype} {self.boxes.shape}")
