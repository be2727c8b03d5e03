"""The interface of an output format for detections."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar, NamedTuple

import numpy as np

from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

IMAGES = "detections"
"""Stem of the files that hold the detections of all images of a run."""


class Part(NamedTuple):
    """A part of the output.

    name: file, relative to the output folder, with forward slashes.
    content: bytes.
    is_file: whether ``content`` is the whole file; otherwise it is appended to the file.
    """

    name: str
    content: bytes
    is_file: bool = False


@dataclass(frozen=True)
class Source:
    """The image, or the frame of a video, that detections belong to.

    name: path or name of the image, or name of the video.
    image: uint8 RGB [H, W, 3]; None where only the detections are needed, see ``Writer.add``.
    frame: number of the frame in its video, from 0; None for an image.
    time: time of the frame in its video, in seconds.
    detected: False where the detections of an earlier frame are repeated, as with a stride above 1.
    annotated_file: name, relative to the output folder, of the copy of the image with its detections drawn on it; None
        without such a copy.
    stem: name without suffix for files about this image, which no other image of the run has; "" for the stem of
        ``name``.
    image_id: number of the image in formats that number images; by default images are numbered from 1, and frames
        have the number of the frame.
    path: file of the image; None for frames and for images that come from elsewhere.
    """

    name: str
    image: np.ndarray | None
    frame: int | None = None
    time: float = 0.0
    detected: bool = True
    annotated_file: str | None = None
    stem: str = ""
    image_id: int | None = None
    path: Path | None = None

    @property
    def file_stem(self) -> str:
        """Name without suffix for files about this image or frame, such as ``clip_000012`` for a frame."""
        stem = self.stem or PurePath(self.name).stem
        return stem if self.frame is None else f"{stem}_{self.frame:06}"

    @property
    def pixels(self) -> np.ndarray:
        """The image, uint8 RGB [H, W, 3]. Raises ValueError if it is None."""
        if self.image is None:
            raise ValueError(f"{self.name}: this output format needs the pixels of the image")
        return self.image


class Writer(ABC):
    """Encodes the detections of images, or of the frames of one video, as the content of one or more files.

    A writer does not touch the output folder: ``DetectionFiles`` saves its files, and the REST API sends them. Its
    memory does not grow with the number of images.

    help: text for ``--help``, which names the files.
    has_flag: whether the detect scripts have a setting ``save_NAME``; ``json_format`` selects the others.
    """

    help: ClassVar[str]
    has_flag: ClassVar[bool] = True

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        """stem: file name without suffix of the files that hold all images, or of the files of a video.

        mask_format: "rle" or "polygons", for formats that have both; None for the usual one of the format.
        """
        self.class_names = class_names
        self.stem = stem
        self.mask_format = mask_format

    def folder(self, name: str) -> str:
        """Return the name of a folder for images, or ``VIDEO_name`` for the frames of a video."""
        return name if self.stem == IMAGES else f"{self.stem}_{name}"

    def image_files(self, source: Source, detections: Detections) -> Iterable[Part]:
        """Return files about one image or frame that need its pixels or its file.

        Several threads may call this at the same time and in any order.
        """
        return ()

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        """Encode the detections of one image or frame, without its pixels, and return what can be written now.

        Called once for each image or frame, in order.
        """
        return ()

    def finish(self) -> Iterable[Part]:
        """Return the remaining parts, after the last image or frame. Also called if the work ends early.

        All parts of one file come before those of the next.
        """
        return ()

    def close(self) -> None:  # noqa: B027 - most writers hold nothing
        """Delete temporary files. The writer cannot be used any more."""
