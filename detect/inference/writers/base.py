"""The interface of an output format for detections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

Part = tuple[str, bytes]
"""Name of a file, relative to the output folder, and content to append to it."""


@dataclass(frozen=True)
class Source:
    """The image, or the frame of a video, that detections belong to.

    name: path or name of the image, or name of the video.
    image: uint8 RGB [H, W, 3].
    annotated_file: name, relative to the output folder, of the copy of the image with its detections drawn on it; None
        without such a copy.
    frame: number of the frame in its video, from 0; None for an image.
    time: time of the frame in its video, in seconds.
    detected: False where the detections of an earlier frame are repeated, as with a stride above 1.
    """

    name: str
    image: np.ndarray
    frame: int | None = None
    time: float = 0.0
    detected: bool = True
    annotated_file: str | None = None


class Writer(ABC):
    """Encodes the detections of images, or of the frames of one video, as the content of one or more files.

    A writer touches no disk: ``DetectionFiles`` saves its files, and the REST API sends them.

    help: text for ``--help``, which names the files.
    """

    help: ClassVar[str]

    def __init__(self, class_names: ClassNames, stem: str = "detections") -> None:
        """stem: file name without suffix of the files that hold all images, or of the files of a video."""
        self.class_names = class_names
        self.stem = stem

    @abstractmethod
    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        """Encode the detections of one image or frame.

        Return the parts of the output that no later image can change.
        """

    def finish(self) -> Iterable[Part]:
        """Return the remaining parts, after the last image or frame. Also called if the work ends early."""
        return ()
