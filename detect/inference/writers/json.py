"""Detections in the schema of all programs: one JSON document for images, JSON Lines for videos."""

from __future__ import annotations

from typing import Any

from detect.inference.writers.base import Source
from detect.inference.writers.json_list import ListWriter
from detect.structures.detections import Detections
from detect.structures.detections_json import SCHEMA, image_entry


class JsonWriter(ListWriter):
    """Writes ``detections.json`` for images, and ``VIDEO.jsonl`` with one line per frame for a video.

    The document for images has an entry per image, on a line of its own::

        {"schema": "detect/1", "images": [
        {"source": "in/a.jpg", "annotated_file": "a.jpg", "height": 480, "width": 640,
         "limit_reached": false, "detections": [...]}
        ]}

    A line for a frame is such an entry::

        {"schema": "detect/1", "frame": 0, "time": 0.0, "detected": true, "height": 480, "width": 640,
         "limit_reached": false, "detections": [...]}

    source: path of the image.
    annotated_file: name of its annotated copy, relative to the folder of this document; null if none was written.
    frame: number of the frame, from 0.  time: its time in seconds.
    detected: false where the detections of an earlier frame are repeated.
    height, width, limit_reached, detections: see ``image_entry`` in ``detect.structures.detections_json``.
    """

    help = (
        "also write the detections as JSON: detections.json for images, VIDEO.jsonl with a line per frame for videos"
    )
    opening = f'{{"schema": "{SCHEMA}", "images": ['
    closing = "]}"

    def entry(self, source: Source, detections: Detections) -> dict[str, Any]:
        about: dict[str, Any]
        if source.frame is None:
            about = {"source": source.name, "annotated_file": source.annotated_file}
        else:
            about = {"schema": SCHEMA, "frame": source.frame, "time": round(source.time, 6)}
            about["detected"] = source.detected
        return about | image_entry(detections, self.class_names, self.mask_format)
