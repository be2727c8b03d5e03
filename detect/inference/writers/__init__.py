"""Output formats for detections: one file and one line in FORMATS per format.

A format in FORMATS works for images (``detect_image.py --save-NAME``), for videos (``detect_video.py --save-NAME``),
for ``annotate_images`` and ``annotate_video``, and for the REST API (``format=NAME``).
"""

from __future__ import annotations

from detect.inference.writers.base import Part, Source, Writer
from detect.inference.writers.json import JsonWriter

__all__ = ["FORMATS", "Part", "Source", "Writer"]

FORMATS: dict[str, type[Writer]] = {
    "json": JsonWriter,
}
