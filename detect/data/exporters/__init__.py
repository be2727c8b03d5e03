"""Annotation formats that can be written.

To add a format, write one module in this folder that defines ``EXPORTER = Exporter(...)`` (see ``exporter.Exporter``
for what it needs) and add one line to the table below. The choices of ``doctor.py convert --to`` and the tests that
run over all formats follow from the table. This module imports no exporter, so that the names are available at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from detect.errors import UsageError
from detect.text import unknown

if TYPE_CHECKING:
    from detect.data.exporters.exporter import Exporter

# Format name -> module in this folder.
EXPORTERS = {"coco": "coco", "voc": "voc", "yolo": "yolo", "via": "via", "labelme": "labelme"}


def get_exporter(name: str) -> Exporter:
    """Return the exporter of the format ``name``. Raises UsageError for an unknown format."""
    if name not in EXPORTERS:
        raise UsageError(unknown("format", name, EXPORTERS))
    exporter: Exporter = import_module(f"{__name__}.{EXPORTERS[name]}").EXPORTER
    return exporter
