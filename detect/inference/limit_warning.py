"""The warning about images in which a model reached its maximum number of detections."""

from __future__ import annotations

from contextlib import AbstractContextManager

from detect.inference.predictor import Predictor
from detect.progress import warn
from detect.structures.detections import Detections
from detect.text import counted


class LimitCounter(AbstractContextManager["LimitCounter"]):
    """Counts the images in which ``predictor`` reached its limit, and at the end of the block warns in one line."""

    def __init__(self, predictor: Predictor, noun: str = "image") -> None:
        """noun: what is counted, "image" or "frame"."""
        self._predictor, self._noun = predictor, noun
        self._total = self._reached = 0

    def add(self, detections: Detections) -> None:
        """Count one image or frame."""
        self._total += 1
        self._reached += detections.limit_reached

    def __exit__(self, *_: object) -> None:
        if self._reached:
            warn(
                f"{self._reached} of {counted(self._total, self._noun)} reached the limit"
                f" `max_detections={self._predictor.max_detections}`, so objects with lower scores may be missing; a"
                " higher limit finds more"
            )
