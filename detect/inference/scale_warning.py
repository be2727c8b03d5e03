"""The warning about images that are shrunk far more than those of the training."""

from __future__ import annotations

from contextlib import AbstractContextManager

from detect.inference.predictor import Predictor
from detect.progress import warn
from detect.text import counted

MAX_RATIO = 4.0
"""Ratio of the shrink factors of an image and of the training images above which objects are hardly recognizable.

An object of 96 px, large by COCO's definition, is small (24 px) when shrunk by 4.
"""


class ShrinkCounter(AbstractContextManager["ShrinkCounter"]):
    """Counts the images that ``predictor`` shrinks too much, and at the end of the block warns in one line.

    Shrunk too much means: by more than MAX_RATIO times the factor of the training images, which a checkpoint of
    train.py knows (``Predictor.training_shrink``). Where it is unknown, and where the training images were enlarged,
    the factor of training counts as 1: the short side has more than 4 times ``imgsz`` pixels.
    """

    def __init__(self, predictor: Predictor, noun: str = "image") -> None:
        """noun: what is counted, "image" or "frame"."""
        self._predictor, self._noun = predictor, noun
        self._total = self._shrunk = 0
        self._largest = 1.0

    def add(self, image_hw: tuple[int, int]) -> None:
        """Count one image or frame of this (height, width) in pixels."""
        self._total += 1
        (height, width), (resized_h, resized_w) = image_hw, self._predictor.resized_hw(image_hw)
        factor = (height * width / (resized_h * resized_w)) ** 0.5
        if factor > MAX_RATIO * max(1.0, self._predictor.training_shrink):
            self._shrunk += 1
            self._largest = max(self._largest, factor)

    def __exit__(self, *_: object) -> None:
        if self._shrunk:
            images = f"{self._shrunk} of {counted(self._total, self._noun)}"
            former = self._predictor.training_shrink
            in_training = f" (training images: {former:.1f} times)" if former > 1 else ""
            warn(
                f"`imgsz={self._predictor.imgsz}` shrinks {images} up to {self._largest:.1f} times{in_training}, so"
                " small objects may be missed; a larger `imgsz` finds more, as do images cut into parts"
            )
