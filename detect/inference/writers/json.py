"""Detections as JSON: one document for images, one line a frame for videos.

Sizes and boxes are pixels of the original, masks are COCO's run-length codes with text counts, and every
number is the shortest decimal that gives the same float32 back.
"""

from __future__ import annotations

import json
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from detect.io.files import append_all_or_nothing, disk_errors_naming, write_bytes
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


def detection_rows(detections: Detections, class_names: ClassNames) -> list[dict[str, Any]]:
    """One dict an instance, best first: name, category_id, score, box_xyxy and, from a model with masks,
    segmentation, with keypoints, keypoints: [x, y, score] of each, a person's in COCO's order from the nose to the
    right ankle."""
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
        if detections.keypoints is not None:
            row["keypoints"] = [[_number(v) for v in point] for point in detections.keypoints[i]]
        rows.append(row)
    return rows


class JsonWriter:
    """``folder/detections.json``: a list of ``{"source", "height", "width", "detections"}``.

    Written when closed, if there was an image.
    """

    def __init__(self, folder: Path, class_names: ClassNames) -> None:
        self.path = folder / "detections.json"
        self.class_names = class_names
        self._images: list[dict[str, Any]] = []

    def write(self, source: Path, image: np.ndarray, detections: Detections) -> Path:
        """Add one image."""
        height, width = detections.image_hw
        rows = detection_rows(detections, self.class_names)
        self._images.append({"source": str(source), "height": height, "width": width, "detections": rows})
        return self.path

    def close(self) -> None:
        """Write the document; DiskError where that fails."""
        if not self._images:
            return
        text = json.dumps(self._images, ensure_ascii=False)
        # A file's name may be no text; JSON's escapes of such characters look like Python's.
        write_bytes(self.path, text.encode(errors="backslashreplace"))

    def __enter__(self) -> JsonWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonLinesWriter:
    """One line of JSON for each frame of a video, there as soon as it is written; no file before the first.

    ``{"frame", "time", "height", "width", "detected", "detections"}``: the frame's number from 0, its time in
    seconds, its own size (boxes are pixels of it), false where the result of an earlier frame is repeated, and the
    rows of ``detection_rows``.
    """

    def __init__(self, path: Path, class_names: ClassNames) -> None:
        self.path = path
        self.class_names = class_names
        self._file: FileIO | None = None

    def write(self, frame: int, time: float, detections: Detections, *, detected: bool = True) -> None:
        """Add one frame; DiskError where that fails, and the file ends with the frame before."""
        height, width = detections.image_hw
        rows = detection_rows(detections, self.class_names)
        line: dict[str, Any] = {"frame": frame, "time": round(time, 6), "height": height, "width": width}
        line |= {"detected": detected, "detections": rows}
        with disk_errors_naming(self.path):
            if self._file is None:
                self._file = FileIO(self.path, "w")
            append_all_or_nothing(self._file, f"{json.dumps(line, ensure_ascii=False)}\n".encode())

    def close(self) -> None:
        """Finish the file; DiskError where that fails."""
        if self._file is not None:
            with disk_errors_naming(self.path):
                self._file.close()

    def __enter__(self) -> JsonLinesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _number(value: np.float32) -> float:
    return float(str(value))
