"""What is done with detections: one output format a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from detect.inference.writers.image import ImageWriter
from detect.inference.writers.json import JsonLinesWriter, JsonWriter
from detect.inference.writers.video import AnnotatedVideo, annotated_video
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

__all__ = ["FORMATS", "AnnotatedVideo", "ImageWriter", "JsonLinesWriter", "JsonWriter", "Writer", "annotated_video"]


class Writer(AbstractContextManager, Protocol):
    """Takes the detections of one image after the other; made with the run's folder and the ClassNames."""

    def write(self, source: Path, image: np.ndarray, detections: Detections) -> Path:
        """Keep the detections of ``image`` (uint8 RGB [H, W, 3], read from ``source``); returns the file."""

    def close(self) -> None:
        """Finish the file. The ``with`` block does it, even when it ends early: what was done is kept."""


# --save-NAME -> its writer. A new format is a file here, a line in this table and a flag in config/detection.py.
FORMATS: dict[str, Callable[[Path, ClassNames], Writer]] = {"json": JsonWriter}
