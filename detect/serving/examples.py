"""Examples of responses for the OpenAPI document, made by the code that makes the responses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import numpy as np

from detect.serving.errors import ImageFailure, ImageProblemError
from detect.serving.responses import ImageResult, to_convention, to_json
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import CONVENTIONS, SCHEMA, image_entry

_HW = (12, 16)
NAMES = ClassNames(("balloon",))

MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "balloon",
            "classes": [{"name": "balloon", "category_id": 1, "threshold": 0.5}],
            "threshold": 0.5,
            "imgsz": 480,
            "masks": True,
        }
    ]
}
JOB: dict[str, Any] = {
    "id": "8h0dLzr2p3B9x1mVtQwYk5Nc",
    "model": "balloon",
    "state": "running",
    "frames": 40,
    "total_frames": 240,
    "detail": None,
}
METRICS = """# HELP detect_images_total images and video frames processed by a model
# TYPE detect_images_total counter
detect_images_total 12.0
"""


def responses() -> dict[str, dict[str, Any]]:
    """Return an example response for each format of JSON, under a title."""
    result = ImageResult("party.jpg", np.zeros((*_HW, 3), np.uint8), detections())
    damaged = ImageProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "b.jpg is truncated")
    titles = {"detect": "json"} | {name: name for name in CONVENTIONS[1:]}
    found = {
        titles[name]: to_json([result], NAMES, "balloon", 0.41)
        if name == "detect"
        else to_convention(name, [result], NAMES)
        for name in CONVENTIONS
    }
    found["json, with polygons and a damaged image"] = to_json(
        [result, ImageFailure("b.jpg", damaged)], NAMES, "balloon", 0.63, "polygons"
    )
    return {title: {"summary": title, "value": value} for title, value in found.items()}


def frame() -> dict[str, Any]:
    """Return an example line of the detections of a video."""
    about = {"schema": SCHEMA, "frame": 0, "time": 0.0, "detected": True}
    return about | image_entry(detections(), NAMES)


def problem(status: int) -> dict[str, Any]:
    """Return an example of a problem document."""
    return ImageProblemError(status, "explanation").document()


def detections() -> Detections:
    """Return one detection, whose mask is a rectangle."""
    bitmap = np.zeros(_HW, bool)
    bitmap[2:9, 4:10] = True
    box, score, label = np.array([[4, 2, 10, 9]], np.float32), np.array([0.96875], np.float32), np.array([1])
    return Detections(_HW, box, score, label, [masks.from_bitmap(bitmap)])
