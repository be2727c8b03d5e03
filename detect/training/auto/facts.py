"""What the defaults are fitted to, and what a fitted default is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from detect.data.table import Table
from detect.structures.class_names import ClassNames
from detect.structures.image_size import MAX_RATIO

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A default that was fitted to the data, and why: one short clause, with the figures that decided."""

    value: T
    reason: str


@dataclass(frozen=True)
class Facts:
    """N training images and their M objects; crowds, which are not trained on, are none.

    image_hw: int [N, 2].  boxes: float [M, 4] xyxy pixels, of some area.  images: int64 [M], the image of each.
    labels: int64 [M] in 1..K.
    """

    image_hw: np.ndarray
    boxes: np.ndarray
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, table: Table) -> Facts:
        """Those of a clean split."""
        single = ~table.iscrowd
        return cls(table.image_hw, table.boxes[single], table.images[single], table.labels[single])

    @property
    def own_sides(self) -> np.ndarray:
        """float64 [N], the image size at which each image keeps its pixels as they are: its short side, or more
        where the long side is what limits it."""
        return np.maximum(self.image_hw.min(axis=1), self.image_hw.max(axis=1) / MAX_RATIO)

    @property
    def across(self) -> np.ndarray:
        """float64 [M], the square root of each box's area as a share of the image size, whichever that is."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        return np.sqrt(sides.prod(axis=1)) / self.own_sides[self.images]

    def images_with(self, class_names: ClassNames) -> dict[str, int]:
        """On how many images each class is."""
        seen = np.unique(np.column_stack([self.images, self.labels]), axis=0)
        counts = np.bincount(seen[:, 1], minlength=len(class_names) + 1)[1:]
        return dict(zip(class_names.names, counts.tolist(), strict=True))
