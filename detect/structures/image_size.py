"""The size to which an image is resized for a model, in training and inference."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SIDE_RATIO = 1333 / 800
"""Maximum long side over short side of a resized image, from torchvision's sizes for its published detectors."""


def max_long_side(short_side: int) -> int:
    """Return the maximum length of the long side, in pixels, if the short side is resized to ``short_side``."""
    return int(short_side * MAX_SIDE_RATIO)


def resized_hw(image_hw: tuple[int, int], short_side: int, max_long: int | None = None) -> tuple[int, int]:
    """Return the (height, width) to which an image of ``image_hw`` is resized.

    The short side becomes ``short_side`` pixels, unless the long side would exceed ``max_long`` (by default
    ``max_long_side(short_side)``). Both are rounded down to at least 1, as in torchvision's
    GeneralizedRCNNTransform.
    """
    height, width = image_hw
    max_long = max_long_side(short_side) if max_long is None else max_long
    scale = min(short_side / min(height, width), max_long / max(height, width))
    return max(1, int(height * scale)), max(1, int(width * scale))


@dataclass(frozen=True)
class InputSize:
    """The size to which a model resizes images.

    short: pixels of the short side, unless the long side would then exceed ``long``.
    long: maximum pixels of the long side.
    is_fixed: whether every image becomes ``short`` x ``short`` pixels instead, whatever its aspect ratio.
    """

    short: int
    long: int
    is_fixed: bool = False

    def resized_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which an image of ``image_hw`` is resized."""
        return (self.short, self.short) if self.is_fixed else resized_hw(image_hw, self.short, self.long)
