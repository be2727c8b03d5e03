"""Detections as JSON: one document for images, JSON Lines for videos."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.inference.writers.json_list import JsonList
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


class JsonWriter(Writer):
    """Writes ``detections.json`` for images, and ``VIDEO.jsonl`` with one line per frame for a video.

    The document for images is a list with one entry per image, on a line of its own::

        {"source": "in/a.jpg", "annotated_file": "a.jpg", "height": 480, "width": 640,
         "limit_reached": false, "detections": [...]}

    A line for a frame is::

        {"frame": 0, "time": 0.0, "height": 480, "width": 640, "detected": true,
         "limit_reached": false, "detections": [...]}

    source: path of the image.
    annotated_file: name of its annotated copy, relative to the folder of this document; null if none was written.
    frame: number of the frame, from 0.  time: its time in seconds.
    height, width: size of the image or frame in pixels.
    detected: false where the detections of an earlier frame are repeated.
    limit_reached: true if the model stopped at its maximum number of detections per image, so that objects with lower
        scores may be missing.
    detections: as in ``detection_rows``.
    """

    help = (
        "also write the detections as JSON: detections.json for images, VIDEO.jsonl with a line per frame for videos"
    )

    def __init__(self, class_names: ClassNames, stem: str = IMAGES) -> None:
        super().__init__(class_names, stem)
        self._list = JsonList(f"{stem}.json")

    def add(self, source: Source, detections: Detections) -> Iterable[Part]:
        height, width = detections.image_hw
        entry = {"height": height, "width": width}
        rows = {
            "limit_reached": detections.limit_reached,
            "detections": detection_rows(detections, self.class_names),
        }
        if source.frame is None:
            files = {"source": source.name, "annotated_file": source.annotated_file}
            return self._list.add([files | entry | rows])
        line = {"frame": source.frame, "time": round(source.time, 6)} | entry | {"detected": source.detected} | rows
        return [Part(f"{self.stem}.jsonl", f"{json.dumps(line, ensure_ascii=False)}\n".encode())]

    def finish(self) -> Iterable[Part]:
        return self._list.finish()


def detection_rows(detections: Detections, class_names: ClassNames) -> list[dict[str, Any]]:
    """Return one dict per detection, by descending score, ready for JSON.

    name: class name.  category_id: id of the class in the training annotations.
    score: 0..1.
    track_id: of tracked detections, the number of the object, equal in all frames of a video.
    box_xyxy: [x_min, y_min, x_max, y_max] in pixels of the original image.
    segmentation: from models with masks, COCO's compressed RLE ``{"size": [H, W], "counts": text}``.
    keypoints: from models with keypoints, [x, y, score] of each in COCO's order (nose first, right ankle last).

    Numbers are the shortest decimals that give the same float32 again.
    """
    rows = []
    for i, label in enumerate(detections.labels.tolist()):
        row: dict[str, Any] = {
            "name": class_names.name(label),
            "category_id": class_names.category_id(label),
            "score": shortest(detections.scores[i]),
            "box_xyxy": [shortest(v) for v in detections.boxes[i]],
        }
        if detections.track_ids is not None:
            row["track_id"] = int(detections.track_ids[i])
        if detections.masks is not None:
            row["segmentation"] = masks.to_json(detections.masks[i])
        if detections.keypoints is not None:
            row["keypoints"] = [[shortest(v) for v in point] for point in detections.keypoints[i]]
        rows.append(row)
    return rows


def shortest(value: np.float32) -> float:
    """Return the shortest decimal that gives the same float32 again."""
    return float(str(value))
