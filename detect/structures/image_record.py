"""One image and its annotations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detect.structures.masks import Polygons, Rle


@dataclass(frozen=True)
class ImageRecord:
    """One image and its ground truth, as every reader returns it. Boxes and masks are on the original pixels.

    boxes: float32 [N, 4] xyxy absolute pixels.  labels: int64 [N] in 1..K.
    masks: N masks, each polygons or RLE, or None where the dataset has none.
    areas: float64 [N] px², as annotated (the mask's or the box's).  iscrowd: bool [N].
    annotation_ids: int64 [N].  image_id: the dataset's own, unique in a split.
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
