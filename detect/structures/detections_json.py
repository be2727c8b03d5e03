"""Detections as JSON: the schema of all programs, and the conventions of Hugging Face and Roboflow.

COCO's results format is ``Detections.to_coco``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from detect.errors import UsageError
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.masks import Rle
from detect.structures.polygons import simplified_polygons
from detect.text import unknown

if TYPE_CHECKING:
    from detect.structures.detections import Detections

SCHEMA = "detect/1"
"""Name and version of the schema. The version grows when a field is renamed, removed or changes its meaning; new
fields do not change it."""
CONVENTIONS = ("detect", "coco", "huggingface", "roboflow")
"""Names of the schema above and of the conventions of other tools."""
MASK_FORMATS = ("rle", "polygons")
"""How masks are written: COCO's compressed RLE, or polygons with few vertices (see ``simplified_polygons``)."""

_DECIMALS = 9  # of sizes, without the noise of binary subtraction


def check_formats(format: str, mask_format: str | None) -> None:
    """Raise UsageError unless ``format`` is one of CONVENTIONS and ``mask_format`` None or one of MASK_FORMATS."""
    if format not in CONVENTIONS:
        raise UsageError(unknown("format", format, CONVENTIONS))
    if mask_format is not None and mask_format not in MASK_FORMATS:
        raise UsageError(unknown("mask format", mask_format, MASK_FORMATS))


def document(images: Iterable[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """Return the document ``{"schema": "detect/1", **facts, "images": [...]}``. images: see ``image_entry``."""
    return {"schema": SCHEMA, **facts, "images": list(images)}


def image_entry(detections: Detections, class_names: ClassNames, mask_format: str | None = None) -> dict[str, Any]:
    """Return what an entry of ``images`` says about an image beside its name.

    height, width: size of the image or frame in pixels.
    limit_reached: true if the model stopped at its maximum number of detections per image, so that objects with lower
        scores may be missing.
    detections: as in ``detection_rows``.
    """
    height, width = detections.image_hw
    return {
        "height": height,
        "width": width,
        "limit_reached": detections.limit_reached,
        "detections": detection_rows(detections, class_names, mask_format),
    }


def detection_rows(
    detections: Detections, class_names: ClassNames, mask_format: str | None = None
) -> list[dict[str, Any]]:
    """Return one dict per detection, by descending score, ready for JSON.

    name: class name.  category_id: id of the class in the training annotations.
    score: 0..1.
    box_xyxy: [x_min, y_min, x_max, y_max] in pixels of the original image.
    track_id: of tracked detections, the number of the object, equal in all frames of a video.
    segmentation: from models with masks, COCO's compressed RLE ``{"size": [H, W], "counts": text}``, or with the mask
        format "polygons" a list of polygons [x0, y0, x1, y1, ...].
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
            row["segmentation"] = segmentation(detections.masks[i], mask_format)
        if detections.keypoints is not None:
            row["keypoints"] = [[shortest(v) for v in point] for point in detections.keypoints[i]]
        rows.append(row)
    return rows


def segmentation(rle: Rle, mask_format: str | None = None) -> Any:
    """Return a mask as COCO's ``segmentation``. mask_format: one of MASK_FORMATS; None for RLE."""
    return simplified_polygons(rle) if mask_format == "polygons" else masks.to_json(rle)


def huggingface_rows(detections: Detections, class_names: ClassNames) -> list[dict[str, Any]]:
    """Return the output of Hugging Face's object detection for one image: a list of
    ``{"label", "score", "box": {"xmin", "ymin", "xmax", "ymax"}}``, with coordinates in whole pixels
    (https://huggingface.co/docs/inference-providers/tasks/object-detection).

    It has no place for masks, keypoints and track ids.
    """
    corners = ("xmin", "ymin", "xmax", "ymax")
    rows = zip(detections.labels.tolist(), detections.scores, detections.boxes, strict=True)
    return [
        {
            "label": class_names.name(label),
            "score": shortest(score),
            "box": dict(zip(corners, np.rint(box).astype(int).tolist(), strict=True)),
        }
        for label, score, box in rows
    ]


def roboflow_response(
    detections: Detections, class_names: ClassNames, mask_format: str | None = None
) -> dict[str, Any]:
    """Return the response of a Roboflow model for one image: ``{"image": {"width", "height"}, "predictions": [...]}``
    (https://docs.roboflow.com/deploy/serverless/instance-segmentation).

    x, y: center of the box.  width, height: its size, in pixels.
    confidence: the score.  class: class name.  class_id: position of the class in the model, from 0.
    points: from models with masks, one polygon ``[{"x", "y"}, ...]``, in which the parts of an object are joined by
        bridges of zero width. With the mask format "rle", ``rle`` takes its place: COCO's compressed RLE.
    mask_format: in the response, "polygon" or "rle"; the parameter is "polygons" (the default) or "rle".
    tracker_id: of tracked detections, the number of the object.

    It has no place for the keypoints of a model without named points.
    """
    predictions = []
    for i, label in enumerate(detections.labels.tolist()):
        x0, y0, x1, y1 = detections.boxes[i]
        sides = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0}
        one: dict[str, Any] = {name: shortest(value) for name, value in sides.items()}
        one["confidence"] = shortest(detections.scores[i])
        one |= {"class": class_names.name(label), "class_id": label - 1}
        if detections.masks is not None:
            one |= _roboflow_mask(detections.masks[i], mask_format)
        if detections.track_ids is not None:
            one["tracker_id"] = int(detections.track_ids[i])
        predictions.append(one)
    height, width = detections.image_hw
    return {"image": {"width": width, "height": height}, "predictions": predictions}


def _roboflow_mask(rle: Rle, mask_format: str | None) -> dict[str, Any]:
    if mask_format == "rle":
        return {"rle": masks.to_json(rle), "mask_format": "rle"}
    polygon = [number for part in simplified_polygons(rle, joined=True) for number in part]
    points = [{"x": x, "y": y} for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
    return {"points": points, "mask_format": "polygon"}


def box_xywh(box: np.ndarray) -> list[float]:
    """Return a box, float32 xyxy [4], as [x_min, y_min, width, height] in short decimals, whose sums are the shortest
    decimals of x_max and y_max."""
    x0, y0, x1, y1 = map(shortest, box)
    return [x0, y0, round(x1 - x0, _DECIMALS), round(y1 - y0, _DECIMALS)]


def shortest(value: np.float32) -> float:
    """Return the shortest decimal that gives the same float32 again."""
    return float(str(value))
