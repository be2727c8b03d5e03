"""Runs the writers of output formats, and saves or returns their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType

from detect.errors import DiskError, UsageError
from detect.inference.thread_map import thread_map
from detect.inference.writers import FORMATS
from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.io.files import append_all_or_nothing, disk_errors_naming, replace_file, write_bytes
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import unknown

_THREADS = 4  # a file waits for the disk most of the time


def make_writer(format: str, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> Writer:
    """Return a new writer of the format ``format``, a name in FORMATS. Raises UsageError for an unknown name."""
    if format not in FORMATS:
        raise UsageError(unknown("output format", format, FORMATS))
    return FORMATS[format](class_names, stem, mask_format)


class DetectionFiles(AbstractContextManager["DetectionFiles"]):
    """Saves detections in several formats to a folder.

    A file that grows with each image or frame is extended at once, and completed when the ``with`` block ends, even if
    an exception ends it: the results so far are kept. A file without any content is not created.

    staged: the growing files have temporary names until the block ends without an exception, and then replace earlier
        ones. After an exception they are deleted.
    mask_format: see ``Writer``.
    """

    def __init__(
        self,
        folder: Path,
        class_names: ClassNames,
        formats: Iterable[str],
        stem: str = IMAGES,
        *,
        staged: bool = False,
        mask_format: str | None = None,
    ) -> None:
        """Raises UsageError for an unknown format, and for class names that a format cannot hold."""
        self.folder, self.stem = folder, stem
        self._writers = [make_writer(name, class_names, stem, mask_format) for name in formats]
        self._staged = staged
        self._growing: dict[str, Path] = {}  # {name: the file that is extended}
        self._has_failed = False

    def write(self, source: Source, detections: Detections) -> None:
        """Add one image or frame. Raises DiskError; a file then ends with the previous image or frame."""
        self.write_image_files(source, detections)
        self.add(source, detections)

    def write_image_files(self, source: Source, detections: Detections) -> None:
        """Write only files about this image alone. Several threads may call this. Raises DiskError and MediaError."""
        for writer in self._writers:
            for part in writer.image_files(source, detections):
                self._write_file(part)

    def add(self, source: Source, detections: Detections) -> None:
        """Extend the files that need no pixels by one image or frame. Raises DiskError."""
        for writer in self._writers:
            for part in writer.add(source, detections):
                self._append(part)

    def _finish(self) -> None:
        """Write the remaining parts of all writers. Raises DiskError.

        A file about a single image that exists is kept, since a person may have corrected it.
        """
        for writer in self._writers:
            for _ in thread_map(self._write_file, self._new_files(writer.finish()), threads=_THREADS, ahead=_THREADS):
                pass
        if self._staged:
            for name, path in self._growing.items():
                with disk_errors_naming(self.folder / name):
                    replace_file(path, self.folder / name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not (self._staged and kind):
                self._finish()
        finally:
            for writer in self._writers:
                writer.close()
            if self._staged:
                for path in self._growing.values():
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    def _new_files(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Append the parts of growing files, and yield the other files that do not exist."""
        for part in parts:
            if not part.is_file and (part.name in self._growing or not self._has_failed):
                self._append(part)
            elif part.is_file and not (self.folder / part.name).exists():
                yield part

    def _write_file(self, part: Part) -> None:
        path = self.folder / part.name
        with disk_errors_naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, part.content)

    def _append(self, part: Part) -> None:
        path = self.folder / part.name
        is_new = part.name not in self._growing
        target = path.with_name(f".{path.name}.part") if self._staged else path
        try:
            with disk_errors_naming(path):
                if "/" in part.name:
                    path.parent.mkdir(parents=True, exist_ok=True)
                with FileIO(target, "w" if is_new else "a") as file:
                    append_all_or_nothing(file, part.content)
        except DiskError:
            self._has_failed = True
            if is_new:
                with suppress(OSError):
                    target.unlink(missing_ok=True)
            raise
        self._growing[part.name] = target


def encode_files(
    format: str,
    class_names: ClassNames,
    results: Iterable[tuple[Source, Detections]],
    mask_format: str | None = None,
) -> dict[str, bytes]:
    """Return the files of an output format by name, without using the disk. mask_format: see ``Writer``."""
    writer = make_writer(format, class_names, mask_format=mask_format)
    files: dict[str, bytes] = {}

    def keep(parts: Iterable[Part]) -> None:
        for part in parts:
            files[part.name] = part.content if part.is_file else files.get(part.name, b"") + part.content

    with closing(writer):
        for source, detections in results:
            keep(writer.image_files(source, detections))
            keep(writer.add(source, detections))
        keep(writer.finish())
    return files
