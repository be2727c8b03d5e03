"""Runs the writers of output formats, and saves or returns their files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path

from detect.errors import UsageError
from detect.inference.writers import FORMATS
from detect.inference.writers.base import Source, Writer
from detect.io.files import append_all_or_nothing, disk_errors_naming, write_bytes
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import unknown


def make_writer(format: str, class_names: ClassNames, stem: str = "detections") -> Writer:
    """Return a new writer of the format ``format``, a name in FORMATS. Raises UsageError for an unknown name."""
    if format not in FORMATS:
        raise UsageError(unknown("output format", format, FORMATS))
    return FORMATS[format](class_names, stem)


class DetectionFiles(AbstractContextManager["DetectionFiles"]):
    """Saves detections in several formats to a folder.

    A file that grows with each image or frame is extended at once. A file that is complete only at the end is written
    when the ``with`` block ends, even if an exception ends it: the results so far are kept. A file without any
    content is not created.
    """

    def __init__(
        self, folder: Path, class_names: ClassNames, formats: Iterable[str], stem: str = "detections"
    ) -> None:
        self.folder, self.stem = folder, stem
        self._writers = [make_writer(name, class_names, stem) for name in formats]
        self._started: set[str] = set()

    def write(self, source: Source, detections: Detections) -> None:
        """Add one image or frame. Raises DiskError; a file then ends with the previous image or frame."""
        for writer in self._writers:
            for name, content in writer.add(source, detections):
                self._append(name, content)

    def close(self) -> None:
        """Write what is complete only now. Raises DiskError."""
        writers, self._writers = self._writers, []
        for writer in writers:
            for name, content in writer.finish():
                if name in self._started:
                    self._append(name, content)
                else:
                    write_bytes(self.folder / name, content)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, name: str, content: bytes) -> None:
        path = self.folder / name
        with disk_errors_naming(path):
            if "/" in name:
                path.parent.mkdir(exist_ok=True)
            with FileIO(path, "a" if name in self._started else "w") as file:
                append_all_or_nothing(file, content)
        self._started.add(name)


def encode_files(
    format: str, class_names: ClassNames, results: Iterable[tuple[Source, Detections]]
) -> dict[str, bytes]:
    """Return the files, by name, that a format makes of images and their detections, without using the disk."""
    writer = make_writer(format, class_names)
    parts = [part for source, detections in results for part in writer.add(source, detections)]
    files: dict[str, bytes] = {}
    for name, content in [*parts, *writer.finish()]:
        files[name] = files.get(name, b"") + content
    return files
