"""Annotation formats that can be read.

To add a format, write one module in this folder that defines ``READER = Reader(...)`` (see ``reader.Reader`` for what
it needs) and add one line to the table below. Recognition in folders, the choices of the setting ``format`` and the
tests that run over all formats follow from the table. This module imports no reader, so that the names of the formats
are available at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from detect.errors import UsageError
from detect.text import unknown

if TYPE_CHECKING:
    from detect.data.readers.reader import Reader

# Format name -> module in this folder. When two readers recognize the same file, the first one in the table wins.
READERS = {
    "coco": "coco",
    "openimages": "openimages",
    "csv": "csv_boxes",
    "cvat": "cvat",
    "dota": "dota",
    "label_studio": "label_studio",
    "labelme": "labelme",
    "masks": "instance_masks",
    "supervisely": "supervisely",
    "via": "via",
    "voc": "voc",
    "yolo": "yolo",
}
FORMAT_CHOICES = ("auto", *READERS)
"""Values of the setting ``format``; auto recognizes the format."""


def get_reader(name: str) -> Reader:
    """Return the reader of the format ``name``. Raises UsageError for an unknown format."""
    if name not in READERS:
        raise UsageError(unknown("format", name, READERS))
    reader: Reader = import_module(f"{__name__}.{READERS[name]}").READER
    return reader
