"""Counters of images with one warning per run: limit of detections reached, shrunk too much, few gray levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

from detect.inference.predictor import Predictor
from detect.media.images import Decoded
from detect.progress import warn
from detect.structures.detections import Detections
from detect.text import counted

MAX_RATIO = 4.0
"""Ratio of the shrink factors of an image and of the training images above which objects are hardly recognizable.

An object of 96 px, large by COCO's definition, is small (24 px) when shrunk by 4.
"""

_Self = TypeVar("_Self", bound="ImageCounter")


class ImageCounter(ABC):
    """Counts the images that have a problem, and at the end of the block warns of them in one line."""

    def __init__(self, noun: str = "image") -> None:
        """noun: what is counted, "image" or "frame"."""
        self._noun = noun
        self._total = self._affected = 0

    def _count(self, is_affected: bool) -> None:
        """Count one image or frame."""
        self._total += 1
        self._affected += is_affected

    @abstractmethod
    def _warning(self, images: str) -> str:
        """Return the warning. ``images`` are the affected ones in words, such as "2 of 3 images"."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._affected:
            warn(self._warning(f"{self._affected} of {counted(self._total, self._noun)}"))


class LimitCounter(ImageCounter):
    """Counts the images in which ``predictor`` reached its maximum number of detections."""

    def __init__(self, predictor: Predictor, noun: str = "image") -> None:
        super().__init__(noun)
        self._predictor = predictor

    def add(self, detections: Detections) -> None:
        """Count the image or frame of these detections."""
        self._count(detections.limit_reached)

    def _warning(self, images: str) -> str:
        return (
            f"{images} reached the limit `max_detections={self._predictor.max_detections}`, so objects with lower"
            " scores may be missing; a higher limit finds more"
        )


class ShrinkCounter(ImageCounter):
    """Counts the images that ``predictor`` shrinks too much.

    Shrunk too much means: by more than MAX_RATIO times the factor of the training images, which a checkpoint of
    train.py knows (``Predictor.training_shrink``). Where it is unknown, and where the training images were enlarged,
    the factor of training counts as 1: the short side has more than 4 times ``imgsz`` pixels.
    """

    def __init__(self, predictor: Predictor, noun: str = "image") -> None:
        super().__init__(noun)
        self._predictor = predictor
        self._largest = 1.0  # factor

    def add(self, image_hw: tuple[int, int]) -> None:
        """Count one image or frame of this (height, width) in pixels."""
        (height, width), (resized_h, resized_w) = image_hw, self._predictor.resized_hw(image_hw)
        factor = (height * width / (resized_h * resized_w)) ** 0.5
        self._count(factor > MAX_RATIO * max(1.0, self._predictor.training_shrink))
        self._largest = max(self._largest, factor)  # an affected image, if there is one, has the largest factor

    def _warning(self, images: str) -> str:
        former = self._predictor.training_shrink
        in_training = f" (training images: {former:.1f} times)" if former > 1 else ""
        return (
            f"`imgsz={self._predictor.imgsz}` shrinks {images} up to {self._largest:.1f} times{in_training}, so"
            " small objects may be missed; a larger `imgsz` finds more, as do images cut into parts"
        )


class GrayLevelCounter(ImageCounter):
    """Counts 16-bit images that are nearly black or flat in 8 bits."""

    def add(self, image: Decoded) -> None:
        """Count one image."""
        self._count(image.has_few_gray_levels)

    def _warning(self, images: str) -> str:
        has, uses = ("has", "uses") if self._affected == 1 else ("have", "use")
        return (
            f"{images} {has} 16 bits but {uses} few gray levels, most of which are lost in 8 bits; set `rescale_16bit`"
            " to the gray values of black and white, such as 0 4095 for 12-bit cameras (doctor.py fix prints those of"
            " a dataset)"
        )
