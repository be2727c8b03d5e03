"""Statistics of a training split, to which defaults are fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detect.data.table import Table
from detect.structures.class_names import ClassNames
from detect.structures.image_size import MAX_SIDE_RATIO


@dataclass(frozen=True)
class DatasetStatistics:
    """Sizes of N training images and of their M objects. Crowds are excluded, since training ignores them.

    image_hw: int [N, 2], height and width in pixels.
    boxes: float [M, 4], xyxy, pixels of the original image, with positive area.
    images: int64 [M], index of the image of each object.
    labels: int64 [M], 1..K.
    """

    image_hw: np.ndarray
    boxes: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def from_table(cls, table: Table) -> DatasetStatistics:
        """Return the statistics of a checked split."""
        single = ~table.iscrowd
        return cls(table.image_hw, table.boxes[single], table.images[single], table.labels[single])

    @property
    def native_sizes(self) -> np.ndarray:
        """float64 [N]: the setting ``imgsz`` at which each image keeps its original size.

        This is the short side, or more if the limit on the long side applies.
        """
        return np.maximum(self.image_hw.min(axis=1), self.image_hw.max(axis=1) / MAX_SIDE_RATIO)

    @property
    def relative_sizes(self) -> np.ndarray:
        """float64 [M]: square root of each box's area as a fraction of the image size, whatever ``imgsz`` is."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.sqrt(sides.prod(axis=1)) / self.native_sizes[self.images]

    def images_per_class(self, class_names: ClassNames) -> dict[str, int]:
        """Return class name -> number of images that show the class."""
        pairs = np.unique(np.column_stack([self.images, self.labels]), axis=0)
        counts = np.bincount(pairs[:, 1], minlength=len(class_names) + 1)[1:]
        return dict(zip(class_names.names, counts.tolist(), strict=True))
