"""Output formats for detections: one file and one line in FORMATS per format.

A format in FORMATS works for images (``detect_image.py --save-NAME``), for videos (``detect_video.py --save-NAME``),
for ``annotate_images`` and ``annotate_video``, and for the REST API (``format=NAME``). ``labels_X`` is
``--save-labels X``, and ``--json-format X`` is one of JSON_FORMATS.
"""

from __future__ import annotations

from detect.data.exporters import EXPORTERS
from detect.inference.writers.base import Part, Source, Writer
from detect.inference.writers.coco import CocoWriter
from detect.inference.writers.crops import CropsWriter
from detect.inference.writers.csv import CsvWriter
from detect.inference.writers.huggingface import HuggingFaceWriter
from detect.inference.writers.json import JsonWriter
from detect.inference.writers.labels import labels_writer
from detect.inference.writers.roboflow import RoboflowWriter
from detect.structures.detections_json import CONVENTIONS

__all__ = ["FORMATS", "JSON_FORMATS", "LABELS", "Part", "Source", "Writer"]

LABELS = "labels_"
"""Prefix of the names of the formats that are datasets for a person to correct."""

FORMATS: dict[str, type[Writer]] = {
    "json": JsonWriter,
    "coco": CocoWriter,
    "huggingface": HuggingFaceWriter,
    "roboflow": RoboflowWriter,
    "csv": CsvWriter,
    "crops": CropsWriter,
    **{f"{LABELS}{name}": labels_writer(name) for name in EXPORTERS},
}

JSON_FORMATS = {name: "json" if name == "detect" else name for name in CONVENTIONS}
"""Name of a schema or convention for JSON -> name of its format in FORMATS."""
