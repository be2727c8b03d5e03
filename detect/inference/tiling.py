"""Cuts a large image into tiles, so that small objects are not lost when it is resized for the model."""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple

import numpy as np

from detect.errors import UsageError
from detect.structures.image_size import InputSize

AUTO: Literal["auto"] = "auto"
MIN_TILE = 64  # pixels
OVERLAP = 0.25
"""Minimum fraction of the side of a tile that overlaps with the next one. An object up to this size lies completely
in some tile."""
MIN_GAIN = 1.5
"""With "auto", an image has tiles if the whole image is shrunk this many times as much as they are."""

TileSize = int | Literal["auto"]


class Tile(NamedTuple):
    """A rectangle of an image, in pixels; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def whole(cls, image_hw: tuple[int, int]) -> Tile:
        """Return the tile that is the whole image."""
        return cls(0, 0, image_hw[1], image_hw[0])

    @property
    def hw(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Return the pixels of the tile as a view of ``image`` [H, W, 3]."""
        return image[self.top : self.bottom, self.left : self.right]


class Tiling:
    """The rule by which images are cut into tiles.

    size: side of a tile in pixels of the original image; "auto": the tiles appear at the scale of the training images,
        or at their original size if that scale is unknown or larger; None: no tiles.
    input_size: size to which the model resizes images and tiles.
    training_shrink: factor by which the training images were shrunk; None if it is unknown.
    """

    def __init__(self, size: TileSize | None, input_size: InputSize, training_shrink: float | None) -> None:
        self.size = size
        self._input_size = input_size
        self._auto_shrink = max(1.0, training_shrink or 1.0)

    def tiles(self, image_hw: tuple[int, int]) -> list[Tile]:
        """Return the parts of an image that the model processes: the whole image, then its tiles, row by row.

        All tiles have equal size, and they cover the image. An image that is not larger than one tile has none. With
        "auto", this holds for all images that are shrunk less than MIN_GAIN times as much as a tile.
        """
        whole = Tile.whole(image_hw)
        side = self._side(image_hw)
        if side is None or max(image_hw) <= side:
            return [whole]
        tops, lefts = (_starts(length, side) for length in image_hw)
        height, width = min(side, image_hw[0]), min(side, image_hw[1])
        return [whole, *(Tile(left, top, left + width, top + height) for top in tops for left in lefts)]

    def shrink_factor(self, image_hw: tuple[int, int]) -> float:
        """Return the factor by which the model shrinks an image, or its tiles if it has some; below 1 it enlarges."""
        return self._factor(self.tiles(image_hw)[-1].hw)

    def _side(self, image_hw: tuple[int, int]) -> int | None:
        """Return the side of the tiles of an image; None if it has none."""
        if self.size != AUTO:
            return self.size
        has_tiles = self._factor(image_hw) > MIN_GAIN * self._auto_shrink
        return round(self._input_size.short * self._auto_shrink) if has_tiles else None

    def _factor(self, hw: tuple[int, int]) -> float:
        (height, width), (resized_h, resized_w) = hw, self._input_size.resized_hw(hw)
        return float((height * width / (resized_h * resized_w)) ** 0.5)


def parse_tile(value: object) -> TileSize | None:
    """Return the setting ``tile``, a number or text, as "auto" or a number of pixels; None for None.

    Raises UsageError for other values and for a number below MIN_TILE.
    """
    if value is None or value == AUTO:
        return value  # type: ignore[return-value]
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or int(text) < MIN_TILE:
        raise UsageError(
            f"`tile={text[:40]}` must be auto or the side of a tile in pixels of the image, a whole number of at least"
            f" {MIN_TILE}"
        )
    return int(text)


def _starts(length: int, side: int) -> list[int]:
    """Return the first pixel of each tile along a side of the image, evenly spaced."""
    if length <= side:
        return [0]
    count = ceil((length - side) / (side * (1 - OVERLAP))) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
