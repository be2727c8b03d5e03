"""Detections as JSON: one document for pictures, one line a frame for videos.

Sizes and boxes are pixels of the original, masks are COCO's run-length codes with text counts, and every
number is the shortest decimal that gives the same float32 back.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from detect import masks
from detect.errors import MediaError
from detect.files import write_text
from detect.types import ClassNames, Detections


def detection_rows(detections: Detections, class_names: ClassNames) -> list[dict[str, Any]]:
    """One dict an instance, best first: name, category_id, score, box_xyxy and, from a model with masks,
    segmentation."""
    rows = []
    for i, label in enumerate(detections.labels.tolist()):
        row: dict[str, Any] = {
            "name": class_names.name(label),
            "category_id": class_names.category_id(label),
            "score": _number(detections.scores[i]),
            "box_xyxy": [_number(v) for v in detections.boxes[i]],
        }
        if detections.masks is not None:
            row["segmentation"] = masks.to_json(detections.masks[i])
        rows.append(row)
    return rows


class JsonWriter:
    """``folder/detections.json``: a list of ``{"source", "height", "width", "detections"}``.

    Written when closed.
    """

    def __init__(self, folder: Path, class_names: ClassNames) -> None:
        self.path = folder / "detections.json"
        self.class_names = class_names
        self._pictures: list[dict[str, Any]] = []

    def write(self, source: Path, image: np.ndarray, detections: Detections) -> Path:
        """Add one picture."""
        height, width = detections.image_hw
        rows = detection_rows(detections, self.class_names)
        self._pictures.append({"source": str(source), "height": height, "width": width, "detections": rows})
        return self.path

    def close(self) -> None:
        """Write the document; MediaError where that fails."""
        try:
            write_text(self.path, json.dumps(self._pictures, ensure_ascii=False))
        except OSError as error:
            raise MediaError(f"cannot write {self.path}: {error.strerror}") from None

    def __enter__(self) -> JsonWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonLinesWriter:
    """One line of JSON for each frame of a video, there as soon as it is written.

    ``{"frame", "time", "detected", "detections"}``: the frame's number from 0, its time in seconds, false
    where the result of an earlier frame is repeated, and the rows of ``detection_rows``.
    """

    def __init__(self, path: Path, class_names: ClassNames) -> None:
        self.path = path
        self.class_names = class_names
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise MediaError(f"cannot write {path}: {error.strerror}") from None

    def write(self, frame: int, time: float, detections: Detections, *, detected: bool = True) -> None:
        """Add one frame; MediaError where that fails."""
        rows = detection_rows(detections, self.class_names)
        line = {"frame": frame, "time": round(time, 6), "detected": detected, "detections": rows}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise MediaError(f"cannot write {self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> JsonLinesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _number(value: np.float32) -> float:
    return float(str(value))
