"""What goes in and out, for the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from detect.serving.problems import MEDIA_TYPE

_EXAMPLE = {
    "model": "balloon",
    "seconds": 0.41,
    "images": [
        {
            "source": "party.jpg",
            "height": 600,
            "width": 800,
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
_MODELS: dict[str, Any] = {
    "models": [
        {
            "name": "balloon",
            "classes": [{"name": "balloon", "category_id": 1}],
            "threshold": 0.5,
            "imgsz": 480,
            "masks": True,
        }
    ]
}
_JOB: dict[str, Any] = {
    "id": "8h0dLzr2p3B9x1mVtQwYk5Nc",
    "model": "balloon",
    "state": "running",
    "frames": 40,
    "total_frames": 240,
    "detail": None,
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class Class(BaseModel):
    """A class that a model knows."""

    name: str
    category_id: int


class Model(BaseModel):
    """A model that is served. imgsz: pixels of the short side at which it looks."""

    name: str
    classes: list[Class]
    threshold: float
    imgsz: int
    masks: bool


class Models(BaseModel):
    """All of them."""

    model_config = ConfigDict(json_schema_extra={"example": _MODELS})
    models: list[Model]


class Segmentation(BaseModel):
    """COCO's compressed run-length code. size: height and width."""

    size: tuple[int, int]
    counts: str


class Detection(BaseModel):
    """An object. box_xyxy: left, top, right and bottom in pixels.  keypoints: x, y and score of each."""

    name: str
    category_id: int
    score: float
    box_xyxy: tuple[float, float, float, float]
    segmentation: Segmentation | None = None
    keypoints: list[tuple[float, float, float]] | None = None


class Image(BaseModel):
    """An image and what was found in it, best first. source: the name of its file."""

    source: str
    height: int
    width: int
    detections: list[Detection]


class Found(BaseModel):
    """The answer to images."""

    model: str
    seconds: float
    images: list[Image]


class Job(BaseModel):
    """A video. total_frames: about so many, where the file tells.  detail: why it failed, or is so short."""

    model_config = ConfigDict(json_schema_extra={"example": _JOB})
    id: str
    model: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    frames: int
    total_frames: int | None
    detail: str | None


def _problem(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": "why, in words"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses that are problem documents."""
    schema = ProblemDocument.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": _problem(status)}},
        }
        for status in statuses
    }


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Found,
        "description": "what was found",
        "content": {
            "application/json": {"example": _EXAMPLE},
            **dict.fromkeys(("image/png", "image/jpeg", "application/zip"), _BINARY),
        },
    },
    **problems(400, 401, 403, 404, 408, 413, 415, 422, 503),
}
RESULT: dict[int | str, dict[str, Any]] = {
    200: {"description": "the annotated video", "content": {"video/mp4": _BINARY}},
    **problems(401, 403, 404, 409, 422),
}
LINES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a line of JSON for each frame",
        "content": {"application/jsonl": {"schema": {"type": "string"}}},
    },
    **problems(401, 403, 404, 409, 422),
}
VIDEO: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {"video": _BINARY["schema"]},
                    "additionalProperties": False,
                }
            },
            **dict.fromkeys(("video/mp4", "video/webm", "application/octet-stream"), _BINARY),
        },
    }
}
# A form with files, or the bytes of one image.
IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "array", "minItems": 1, "items": _BINARY["schema"]}},
                    "additionalProperties": False,
                }
            },
            **dict.fromkeys(("image/jpeg", "image/png", "application/octet-stream"), _BINARY),
        },
    }
}
