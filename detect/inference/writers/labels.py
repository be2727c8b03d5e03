"""Pre-annotation: the images with their detections as annotations, for a person to correct.

The output is a dataset in one of the formats of ``detect.data.exporters``, which annotation programs and train.py
read.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Any, ClassVar

import numpy as np

from detect.data.exporters import get_exporter
from detect.data.exporters.exporter import Export, ImageRow, ObjectRow
from detect.errors import MediaError
from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.io.files import disk_errors_naming
from detect.media import formats
from detect.media.encoding import JPEG_MAX_SIDE, encode
from detect.media.image_paths import shown
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.polygons import simplified_polygons

SPLIT = "train"  # of the dataset that is written
_MEMORY_BYTES = 4 * 2**20  # what exceeds this is kept in a temporary file
_PIECE_BYTES = 2**20


class LabelsWriter(Writer):
    """Writes the folder ``labels_FORMAT``, or ``VIDEO_labels_FORMAT`` with the frames that were detected.

    The folder is a dataset with a copy of each image. Masks are polygons with few vertices, which deviate by at most a
    pixel (see ``simplified_polygons``). In yolo, via and labelme, an object with a mask has no box but that of its
    polygon; voc has boxes only. Scores are not written. Frames are JPEG files.

    format: key of ``detect.data.exporters.EXPORTERS``.

    Raises UsageError for class names that the format cannot hold.
    """

    help = "also write a dataset with the detections as annotations, for a person to correct: labels_FORMAT/"
    format: ClassVar[str]

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        super().__init__(class_names, stem, mask_format)
        self._exporter = get_exporter(self.format)
        self._folder = self.folder(f"labels_{self.format}")
        self._rows = _SpooledRows()
        for _, pieces in self._exporter.files(Export({SPLIT: self._rows}, class_names)):
            deque(pieces, 0)  # an error in class names is found now and not after hours

    def image_files(self, source: Source, detections: Detections) -> Iterable[Part]:
        if source.detected:
            name = f"{self._exporter.image_folder(SPLIT)}/{self._name(source)}"
            yield Part(f"{self._folder}/{name}", _file(source), is_file=True)

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        if source.detected:
            self._rows.append(self._name(source), source.image_id, detections)
        return ()

    def finish(self) -> Iterable[Part]:
        if not len(self._rows):
            return
        label_folder = self._exporter.label_folder
        for name, pieces in self._exporter.files(Export({SPLIT: self._rows}, self.class_names)):
            is_file = label_folder is not None and name.startswith(f"{label_folder(SPLIT)}/")
            for content in _joined(pieces, None if is_file else _PIECE_BYTES):
                yield Part(f"{self._folder}/{name}", content, is_file)

    def close(self) -> None:
        self._rows.close()

    def _name(self, source: Source) -> str:
        """Return the name of the image in the dataset."""
        return self._exporter.adapt_name(source.file_stem + _suffix(source))


def labels_writer(name: str) -> type[LabelsWriter]:
    """Return the writer of datasets in the format ``name``, a key of ``detect.data.exporters.EXPORTERS``."""
    return type(f"{name.capitalize()}LabelsWriter", (LabelsWriter,), {"format": name, "__doc__": LabelsWriter.__doc__})


class _SpooledRows:
    """The images of a dataset in a temporary file: ``ImageRows`` that allow one iteration at a time."""

    def __init__(self) -> None:
        self._file: SpooledTemporaryFile[bytes] | None = None
        self._num_images = self._num_objects = 0

    def append(self, name: str, image_id: int | None, detections: Detections) -> None:
        """Add an image of this name in the dataset. Raises DiskError.

        image_id: by default images are numbered from 1.
        """
        self._num_images += 1
        objects = list(_objects(detections, self._num_objects))
        self._num_objects += len(objects)
        image = [name, self._num_images if image_id is None else image_id, list(map(int, detections.image_hw))]
        with disk_errors_naming(Path(gettempdir())):
            if self._file is None:
                self._file = SpooledTemporaryFile(_MEMORY_BYTES, "w+b")  # noqa: SIM115 - see close
            self._file.write(f"{json.dumps([image, objects])}\n".encode())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return self._num_images

    def __iter__(self) -> Iterator[ImageRow]:
        for image, objects in self._read():
            rows = [
                ObjectRow(label, np.array(box), mask, area, False, annotation_id)
                for label, box, mask, area, annotation_id in objects
            ]
            yield image._replace(objects=rows)

    def without_objects(self) -> Iterator[ImageRow]:
        for image, _ in self._read():
            yield image

    def _read(self) -> Iterator[tuple[ImageRow, Any]]:
        if self._file is None:
            return
        self._file.seek(0)
        for line in self._file:
            (name, image_id, (height, width)), objects = json.loads(line)
            yield ImageRow(SPLIT, name, None, image_id, (height, width), []), objects


def _objects(detections: Detections, first: int) -> Iterator[tuple[int, list[float], Any, float, int]]:
    """Yield label, box, polygons, area and annotation id, from ``first`` + 1, of each detection."""
    for i, (label, box) in enumerate(zip(detections.labels.tolist(), detections.boxes.astype(float), strict=True)):
        mask, area = None, float(np.prod(box[2:] - box[:2]))
        if detections.masks is not None and (polygons := simplified_polygons(detections.masks[i])):
            mask, area = polygons, float(masks.area(masks.from_polygons(polygons, detections.image_hw)))
        yield label, box.tolist(), mask, area, first + i + 1


def _suffix(source: Source) -> str:
    """Return the suffix of the copy of an image."""
    suffix = PurePath(source.name).suffix.lower() if source.frame is None else ".jpg"
    if source.path is not None:
        return suffix if suffix in formats.SUFFIXES else ".jpg"  # readers find images by suffix
    return ".png" if suffix == ".png" or max(source.pixels.shape) > JPEG_MAX_SIDE else ".jpg"


def _file(source: Source) -> bytes:
    """Return the content of the file of an image, which is unchanged if there is one. Raises MediaError."""
    if source.path is None:
        return encode(source.pixels, "PNG" if _suffix(source) == ".png" else "JPEG")
    try:
        return source.path.read_bytes()
    except OSError as error:
        raise MediaError(f"cannot read {shown(source.path)}: {error.strerror}") from None


def _joined(pieces: Iterable[str], size: int | None) -> Iterator[bytes]:
    """Yield the pieces of a text in parts of at least ``size`` bytes; as one, if ``size`` is None."""
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        held.append(piece.encode())
        length += len(held[-1])
        if size is not None and length >= size:
            yield b"".join(held)
            held, length = [], 0
    if held or size is None:
        yield b"".join(held)
