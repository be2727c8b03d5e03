"""Detections as Hugging Face's pipelines for object detection return them."""

from __future__ import annotations

from typing import Any

from detect.inference.writers.base import Source
from detect.inference.writers.json_list import ListWriter
from detect.structures.detections import Detections
from detect.structures.detections_json import huggingface_rows


class HuggingFaceWriter(ListWriter):
    """Writes ``detections_huggingface.json``, or ``VIDEO_huggingface.jsonl`` with a line per frame for a video.

    Each image or frame has the list that ``huggingface_rows`` describes; the document for several images is a list of
    these lists, as a pipeline returns it for several images. In it each row also has ``file_name``, the path of the
    image, which is an addition to the format.
    """

    help = "also write the detections as Hugging Face's pipelines return them"
    has_flag = False
    ending = "_huggingface"

    def entry(self, source: Source, detections: Detections) -> list[dict[str, Any]]:
        rows = huggingface_rows(detections, self.class_names)
        return rows if source.frame is not None else [row | {"file_name": source.name} for row in rows]
