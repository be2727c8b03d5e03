"""Counters of images with one warning per run: limit of detections reached, shrunk too much, few gray levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from detect.inference.predictor import Predictor
from detect.inference.tiling import MIN_GAIN
from detect.progress import warn
from detect.structures.detections import Detections
from detect.text import counted

MAX_RATIO = 2.0
"""Tiles are suggested for an image that is shrunk more than this many times as much as the training images."""
MAX_SHRINK = 4.0
"""The same if the size of the training images is unknown: factor by which an image is shrunk.

An object of 96 px, large by COCO's definition, is small (24 px) when shrunk by 4.
"""
SMALL_OBJECT = 32
"""Side in pixels below which an object is small by COCO's definition. If more than half of the training objects were
that small when resized, MIN_GAIN replaces MAX_RATIO."""

_Self = TypeVar("_Self", bound="ImageCounter")


class Counts(NamedTuple):
    """What an ImageCounter has counted.

    total, affected: number of images, and of those with the problem.
    factor: largest shrink factor, for ShrinkCounter.
    """

    total: int = 0
    affected: int = 0
    factor: float = 1.0

    def plus(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(self.total + other.total, self.affected + other.affected, max(self.factor, other.factor))


class ImageCounter(ABC):
    """Counts the images that have a problem, and warns of them in one line when the ``with`` block ends.

    counts: what was counted so far.
    """

    def __init__(self, noun: str = "image") -> None:
        """noun: what is counted, "image" or "frame"."""
        self.counts = Counts()
        self._noun = noun

    def _count(self, is_affected: bool, factor: float = 1.0) -> None:
        """Count one image or frame."""
        self.counts = self.counts.plus(Counts(1, int(is_affected), factor))

    def warn(self) -> None:
        """Warn of the affected images, if there are any."""
        if self.counts.affected:
            warn(self._warning(f"{self.counts.affected} of {counted(self.counts.total, self._noun)}"))

    @abstractmethod
    def _warning(self, images: str) -> str:
        """Return the warning. ``images`` are the affected ones in words, such as "2 of 3 images"."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.warn()


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
    """Counts the images that ``predictor`` shrinks too much, and suggests tiles for them.

    The shrink factor of an image is compared with that of the training images, which a checkpoint of train.py
    states (``Predictor.training_shrink``). Where the training images were enlarged, their factor counts as 1.
    """

    def __init__(self, predictor: Predictor, noun: str = "image") -> None:
        super().__init__(noun)
        self._predictor = predictor
        shrink, side = predictor.training_shrink, predictor.training_object_side
        self._has_small_objects = side is not None and side < SMALL_OBJECT
        self._limit = MAX_SHRINK if shrink is None else MAX_RATIO * max(1.0, shrink)
        if shrink is not None and self._has_small_objects:
            self._limit = MIN_GAIN * max(1.0, shrink)

    def add(self, image_hw: tuple[int, int]) -> None:
        """Count one image or frame of this (height, width) in pixels."""
        factor = self._predictor.tiling.shrink_factor(image_hw)
        self._count(factor > self._limit, factor)  # an affected image, if there is one, has the largest factor

    def _warning(self, images: str) -> str:
        former, tile = self._predictor.training_shrink, self._predictor.tile
        facts = [f"training images: {former:.1f} times"] if former is not None and former > 1 else []
        facts += ["small objects in training"] if self._has_small_objects else []
        in_training = f" ({', '.join(facts)})" if facts else ""
        advice = "`tile=auto` finds more" if tile is None else f"a smaller `tile` than {tile} finds more"
        return (
            f"`imgsz={self._predictor.imgsz}` shrinks {images} up to {self.counts.factor:.1f} times{in_training}, so"
            f" small objects may be missed; {advice}, as does a larger `imgsz`"
        )


class GrayLevelCounter(ImageCounter):
    """Counts 16-bit images with so few gray levels that they are nearly black or flat in 8 bits."""

    def add(self, has_few_gray_levels: bool) -> None:
        """Count one image, see ``Decoded.has_few_gray_levels``."""
        self._count(has_few_gray_levels)

    def _warning(self, images: str) -> str:
        has, uses = ("has", "uses") if self.counts.affected == 1 else ("have", "use")
        return (
            f"{images} {has} 16 bits but {uses} few gray levels, most of which are lost in 8 bits; set `rescale_16bit`"
            " to the gray values of black and white, such as 0 4095 for 12-bit cameras (doctor.py fix prints those of"
            " a dataset)"
        )


class ImageCounters:
    """The counters of a run over images, which several processes may share."""

    def __init__(self, predictor: Predictor) -> None:
        self._limit = LimitCounter(predictor)
        self._shrinking = ShrinkCounter(predictor)
        self._levels = GrayLevelCounter()
        self._all: tuple[ImageCounter, ...] = (self._limit, self._shrinking, self._levels)

    def add(self, detections: Detections, has_few_gray_levels: bool) -> None:
        """Count one image. has_few_gray_levels: see ``Decoded``."""
        self._limit.add(detections)
        self._shrinking.add(detections.image_hw)
        self._levels.add(has_few_gray_levels)

    @property
    def counts(self) -> list[Counts]:
        """What each counter has counted in this process."""
        return [counter.counts for counter in self._all]

    def warn(self, others: Iterable[list[Counts]] = ()) -> None:
        """Warn in one line for each problem. others: ``counts`` of the other processes."""
        for counter, *added in zip(self._all, *others, strict=True):
            for counts in added:
                counter.counts = counter.counts.plus(counts)
            counter.warn()
