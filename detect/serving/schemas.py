"""Request bodies, responses and examples of the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from detect.serving.problems import MEDIA_TYPE

_DETECT_EXAMPLE = {
    "model": "balloon",
    "seconds": 0.41,
    "images": [
        {
            "source": "party.jpg",
            "height": 600,
            "width": 800,
            "limit_reached": False,
            "detections": [
                {
                    "name": "balloon",
                    "category_id": 1,
                    "score": 0.98,
                    "box_xyxy": [101.5, 60.25, 310.0, 335.5],
                    "segmentation": {"size": [600, 800], "counts": "Zm[1?ab0;E:H8I6"},
                }
            ],
        }
    ],
}
_MODELS_EXAMPLE: dict[str, Any] = {
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
_JOB_EXAMPLE: dict[str, Any] = {
    "id": "8h0dLzr2p3B9x1mVtQwYk5Nc",
    "model": "balloon",
    "state": "running",
    "frames": 40,
    "total_frames": 240,
    "detail": None,
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


class ProblemDocument(BaseModel):
    """Problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class Class(BaseModel):
    """A class of a model. category_id: its id in the training data.  threshold: its default minimum score."""

    name: str
    category_id: int
    threshold: float


class Model(BaseModel):
    """A model. threshold: lowest threshold of its classes.  imgsz: short side in pixels to which images are resized.
    masks: whether it predicts masks."""

    name: str
    classes: list[Class]
    threshold: float
    imgsz: int
    masks: bool


class Models(BaseModel):
    """All models; the first one is the default."""

    model_config = ConfigDict(json_schema_extra={"example": _MODELS_EXAMPLE})
    models: list[Model]


class Segmentation(BaseModel):
    """Mask as COCO's compressed run-length encoding. size: height and width."""

    size: tuple[int, int]
    counts: str


class Detection(BaseModel):
    """A detected object. box_xyxy: left, top, right and bottom in pixels.  keypoints: x, y and score of each."""

    name: str
    category_id: int
    score: float
    box_xyxy: tuple[float, float, float, float]
    segmentation: Segmentation | None = None
    keypoints: list[tuple[float, float, float]] | None = None


class Image(BaseModel):
    """An image and its detections in descending order of score. source: name of the uploaded file.  limit_reached:
    whether the model stopped at its maximum number of detections, so that objects with lower scores may be missing."""

    source: str
    height: int
    width: int
    limit_reached: bool
    detections: list[Detection]


class ImageDetections(BaseModel):
    """Detections in all images of a request. seconds: duration of the request on the server."""

    model: str
    seconds: float
    images: list[Image]


class Job(BaseModel):
    """A video job. frames: number of frames written so far.  total_frames: approximate length of the video, null when
    the file does not state it.  detail: why the job failed, or why the result is shorter than the video."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB_EXAMPLE})
    id: str
    model: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    frames: int
    total_frames: int | None
    detail: str | None


def _problem_example(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": "explanation"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses with these statuses, which are problem documents."""
    schema = ProblemDocument.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": _problem_example(status)}},
        }
        for status in statuses
    }


def _upload(field: str, schema: dict[str, Any], *media_types: str) -> dict[str, Any]:
    """Return the OpenAPI request body for a form with one field, or the bytes of one file."""
    form = {"type": "object", "required": [field], "properties": {field: schema}, "additionalProperties": False}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    content |= dict.fromkeys((*media_types, "application/octet-stream"), _BINARY)
    return {"requestBody": {"required": True, "content": content}}


IMAGE_BODY = _upload("image", {"type": "array", "minItems": 1, "items": _BINARY["schema"]}, "image/jpeg", "image/png")
VIDEO_BODY = _upload("video", _BINARY["schema"], "video/mp4", "video/webm")

DETECT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ImageDetections,
        "description": "detections, or the files chosen by `format`",
        "content": {
            "application/json": {"example": _DETECT_EXAMPLE},
            **dict.fromkeys(("image/png", "image/jpeg", "application/zip"), _BINARY),
        },
    },
    **problems(400, 401, 403, 404, 408, 413, 415, 422, 503),
}
VIDEO_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "annotated video", "content": {"video/mp4": _BINARY}},
    **problems(401, 403, 404, 409, 422),
}
JSONL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON Lines with one line per frame",
        "content": {"application/jsonl": {"schema": {"type": "string"}}},
    },
    **problems(401, 403, 404, 409, 422),
}
