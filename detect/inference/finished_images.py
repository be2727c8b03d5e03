"""The record of the finished images of a run, to continue the run and to write the files about all images.

It is a hidden file of JSON lines in the output folder, ``.detections.jsonl``; further processes of torchrun have
``.detections_1.jsonl``, ``.detections_2.jsonl`` ... A line is added when all other files about an image are written,
so after a kill or a power cut the file describes exactly the images that need not be processed again. A line that was
only partly written is dropped.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detect.errors import DataError, UsageError
from detect.io.files import append_all_or_nothing, disk_errors_naming
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import detection_rows

RECORD = ".detections.jsonl"
_IMAGE, _SETTINGS = b'{"image": ', b'{"settings": '  # how a line begins
_DECODER = json.JSONDecoder()
_CHUNK = 2**16  # bytes


class FinishedImage(NamedTuple):
    """An image whose files are written.

    path: absolute path.  source: path as it was given.  stem: see ``Source.stem``.
    annotated_file: see ``Source.annotated_file``.
    formats: output formats whose files about this image alone are complete.
    """

    path: str
    source: str
    stem: str
    annotated_file: str | None
    formats: tuple[str, ...]


class Place(NamedTuple):
    """Position of a line in the record: index in ``files()``, and byte offset."""

    file: int
    offset: int


class FinishedImages:
    """Reads and extends the record in ``folder``. Several threads may call ``append``."""

    def __init__(self, folder: Path, process: int = 0) -> None:
        """process: number of this process among those that write to ``folder``."""
        self._folder = folder
        self._own = folder / (RECORD if process == 0 else f".detections_{process}.jsonl")
        self._file: FileIO | None = None
        self._lock = threading.Lock()

    def files(self) -> list[Path]:
        """Return the files of the record, also those of other processes."""
        return sorted(self._folder.glob(".detections*.jsonl"))

    def delete(self) -> None:
        """Delete the record. Raises DiskError."""
        for path in self.files():
            with disk_errors_naming(path):
                path.unlink(missing_ok=True)

    def merge(self) -> None:
        """Move the lines of all files to that of the first process. No other process may write. Raises DiskError."""
        first, *others = [self._folder / RECORD, *(path for path in self.files() if path.name != RECORD)]
        for path in others:
            with disk_errors_naming(first), FileIO(first, "a+") as file, path.open("rb") as lines:
                file.truncate(_complete_size(file))
                file.seek(0, os.SEEK_END)
                for line in lines:
                    if line.endswith(b"\n"):
                        append_all_or_nothing(file, line)
            with disk_errors_naming(path):
                path.unlink()

    def settings(self) -> list[dict[str, Any]]:
        """Return the settings of each run, in order, see ``open``; [] without a record. Raises DataError."""
        found = []
        for place, line in self._lines():
            if line.startswith(_SETTINGS):
                with self._naming(place):
                    found.append(dict(json.loads(line)["settings"]))
        return found

    def images(self) -> Iterator[tuple[Place, FinishedImage]]:
        """Yield the finished images. Of an image that occurs several times, the last one counts. Raises DataError."""
        for place, line in self._lines():
            if line.startswith(_IMAGE):
                with self._naming(place):
                    image = _image(_DECODER.raw_decode(line.decode(), len(_IMAGE))[0])
                yield place, image

    def read(self, places: list[Place], class_names: ClassNames) -> Iterator[tuple[FinishedImage, Detections]]:
        """Yield the images at ``places`` with their detections. Raises DataError for a damaged line."""
        files = [path.open("rb") for path in self.files()]
        try:
            for place in places:
                files[place.file].seek(place.offset)
                with self._naming(place):
                    entry = json.loads(files[place.file].readline())
                    image, detections = _image(entry["image"]), _detections(entry, class_names)
                yield image, detections
        finally:
            for file in files:
                file.close()

    def open(self, settings: dict[str, Any]) -> None:
        """Open the record to append images. ``settings``: those of the run, as values for JSON, see ``run_settings``.

        Creates the folder. Raises DiskError.
        """
        with disk_errors_naming(self._own):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._own, "a+")
            self._file.truncate(_complete_size(self._file))
            self._file.seek(0, os.SEEK_END)
        self._append(_SETTINGS + f"{json.dumps(settings)}}}\n".encode())

    def append(self, image: FinishedImage, detections: Detections, class_names: ClassNames) -> None:
        """Record an image, completely or not at all. Raises DiskError."""
        height, width = detections.image_hw
        found = {
            "hw": [height, width],
            "limit_reached": detections.limit_reached,
            "detections": detection_rows(detections, class_names),
        }
        self._append(_IMAGE + f"{json.dumps(image)}, {json.dumps(found)[1:]}\n".encode())

    def close(self) -> None:
        """End appending."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def delete_if_unused(self) -> None:
        """Delete the file of this process if it has no image and the folder holds no files of a run to continue."""
        with suppress(OSError):
            with self._own.open("rb") as lines:
                has_images = any(line.startswith(_IMAGE) for line in lines)
            if not has_images and not holds_files(self._folder):
                self._own.unlink()

    @contextmanager
    def _naming(self, place: Place) -> Iterator[None]:
        """Turn an error about an invalid line into a DataError that names it."""
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError, UsageError):
            path = self.files()[place.file]
            hint = "delete it and process all images again"
            raise DataError(f"{path} is damaged at byte {place.offset}; {hint}") from None

    def _append(self, line: bytes) -> None:
        assert self._file is not None  # ``open`` was called
        with self._lock, disk_errors_naming(self._own):
            append_all_or_nothing(self._file, line)

    def _lines(self) -> Iterator[tuple[Place, bytes]]:
        """Yield all complete lines."""
        for number, path in enumerate(self.files()):
            offset = 0
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield Place(number, offset), line
                    offset += len(line)


def holds_files(folder: Path) -> bool:
    """Return whether ``folder`` holds anything but hidden files."""
    return any(not path.name.startswith(".") for path in folder.iterdir())


def _complete_size(file: FileIO) -> int:
    """Return the size of a file without a line at its end that was only partly written."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _CHUNK)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def _image(values: list[Any]) -> FinishedImage:
    path, source, stem, annotated_file, formats = values
    return FinishedImage(path, source, stem, annotated_file, tuple(formats))


def _detections(entry: dict[str, Any], class_names: ClassNames) -> Detections:
    """Return the detections of a line, equal to those that were recorded."""
    height, width = entry["hw"]
    rows = entry["detections"]
    rles: list[masks.Rle] | None = None
    if rows and "segmentation" in rows[0]:
        rles = [row["segmentation"] | {"counts": row["segmentation"]["counts"].encode()} for row in rows]
    return Detections(
        (height, width),
        np.array([row["box_xyxy"] for row in rows], np.float32).reshape(-1, 4),
        np.array([row["score"] for row in rows], np.float32),
        np.array([class_names.label(row["name"]) for row in rows], np.int64),
        rles,
        np.array([row["keypoints"] for row in rows], np.float32) if rows and "keypoints" in rows[0] else None,
        class_names,
        limit_reached=entry["limit_reached"],
    )
