"""How large an image is when a model looks at it: the one place of the rule, for training and for inference."""

from __future__ import annotations

MAX_RATIO = 1333 / 800  # torchvision's own sizes, so that its published detectors see what they were trained on


def long_side(short_side: int) -> int:
    """The most pixels that the long side may have where the short side should have ``short_side``."""
    return int(short_side * MAX_RATIO)


def resized_hw(image_hw: tuple[int, int], short_side: int, most: int | None = None) -> tuple[int, int]:
    """The (height, width) of an image whose short side becomes ``short_side``, but its long side at most ``most``
    pixels (``long_side`` by default); rounded down as torchvision's GeneralizedRCNNTransform does."""
    height, width = image_hw
    most = long_side(short_side) if most is None else most
    scale = min(short_side / min(height, width), most / max(height, width))
    return max(1, int(height * scale)), max(1, int(width * scale))
