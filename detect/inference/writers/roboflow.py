"""Detections as Roboflow's inference returns them."""

from __future__ import annotations

from typing import Any

from detect.inference.writers.base import Source
from detect.inference.writers.json_list import ListWriter
from detect.structures.detections import Detections
from detect.structures.detections_json import roboflow_response


class RoboflowWriter(ListWriter):
    """Writes ``detections_roboflow.json``, or ``VIDEO_roboflow.jsonl`` with a line per frame for a video.

    Each image or frame has the response that ``roboflow_response`` describes; the document for images is a list of
    responses. A response also has ``file_name``, the path of the image, or ``frame`` and ``time``, the number of the
    frame and its time in seconds. These are additions to the format.
    """

    help = "also write the detections as Roboflow's inference returns them"
    has_flag = False
    ending = "_roboflow"

    def entry(self, source: Source, detections: Detections) -> dict[str, Any]:
        about: dict[str, Any] = {"file_name": source.name}
        if source.frame is not None:
            about = {"frame": source.frame, "time": round(source.time, 6)}
        return about | roboflow_response(detections, self.class_names, self.mask_format)
