"""Request bodies, responses and examples of the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from detect.serving import examples
from detect.serving.json_images import JsonImages
from detect.serving.problems import MEDIA_TYPE

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

    model_config = ConfigDict(json_schema_extra={"example": examples.MODELS})
    models: list[Model]


class Rle(BaseModel):
    """Mask as COCO's compressed run-length encoding. size: height and width."""

    size: tuple[int, int]
    counts: str


class Detection(BaseModel):
    """A detected object. box_xyxy: left, top, right and bottom in pixels.  segmentation: its mask as RLE, or as
    polygons [x0, y0, x1, y1, ...].  keypoints: x, y and score of each.  track_id: its number in a video."""

    name: str
    category_id: int
    score: float
    box_xyxy: tuple[float, float, float, float]
    segmentation: Rle | list[list[float]] | None = None
    keypoints: list[tuple[float, float, float]] | None = None
    track_id: int | None = None


class Image(BaseModel):
    """An image and its detections in descending order of score. source: name of the uploaded file.  limit_reached:
    whether the model stopped at its maximum number of detections, so that objects with lower scores may be missing."""

    source: str
    height: int
    width: int
    limit_reached: bool
    detections: list[Detection]


class FailedImage(BaseModel):
    """An image that could not be read."""

    source: str
    error: ProblemDocument


class Document(BaseModel):
    """Detections in all images of a request. seconds: duration of the request on the server."""

    schema_: Literal["detect/1"] = Field(alias="schema")
    model: str
    seconds: float
    images: list[Image | FailedImage]


class CocoResult(BaseModel):
    """A detection in COCO's results format. bbox: x, y, width and height."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float
    segmentation: Rle | list[list[float]] | None = None
    keypoints: list[float] | None = None
    file_name: str
    category_name: str


class HuggingFaceBox(BaseModel):
    """A box in whole pixels."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class HuggingFaceResult(BaseModel):
    """A detection as pipelines of Hugging Face return it."""

    label: str
    score: float
    box: HuggingFaceBox


class RoboflowPoint(BaseModel):
    """A vertex of a polygon."""

    x: float
    y: float


class RoboflowPrediction(BaseModel):
    """A detection as Roboflow's inference returns it. x, y: center of the box.  class_id: from 0."""

    x: float
    y: float
    width: float
    height: float
    confidence: float
    class_: str = Field(alias="class")
    class_id: int
    mask_format: Literal["polygon", "rle"] | None = None
    points: list[RoboflowPoint] | None = None
    rle: Rle | None = None


class RoboflowImage(BaseModel):
    """The size of an image."""

    width: int
    height: int


class RoboflowResponse(BaseModel):
    """The detections in an image as Roboflow's inference returns them."""

    image: RoboflowImage
    predictions: list[RoboflowPrediction]


class ImageError(BaseModel):
    """Why one of several images could not be read, with `format=huggingface` and `format=roboflow`."""

    error: str


JsonResponse = (
    Document
    | list[CocoResult]
    | list[HuggingFaceResult]
    | list[list[HuggingFaceResult] | ImageError]
    | RoboflowResponse
    | list[RoboflowResponse | ImageError]
)


class Job(BaseModel):
    """A video job. frames: number of frames written so far.  total_frames: approximate length of the video, null when
    the file does not state it.  detail: why the job failed, or why the result is shorter than the video."""

    model_config = ConfigDict(json_schema_extra={"example": examples.JOB})
    id: str
    model: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    frames: int
    total_frames: int | None
    detail: str | None


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses with these statuses, which are problem documents."""
    schema = ProblemDocument.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema, "example": examples.problem(status)}},
        }
        for status in statuses
    }


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a model without references, for a place to which FastAPI adds no definitions."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(one) for one in node] if isinstance(node, list) else node

    return resolved(schema)


def _upload(field: str, schema: dict[str, Any], *media_types: str) -> dict[str, Any]:
    """Return the OpenAPI request body for a form with one field, or the bytes of one file."""
    form = {"type": "object", "required": [field], "properties": {field: schema}, "additionalProperties": False}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    content |= dict.fromkeys((*media_types, "application/octet-stream"), _BINARY)
    return {"requestBody": {"required": True, "content": content}}


IMAGE_BODY = _upload("image", {"type": "array", "minItems": 1, "items": _BINARY["schema"]}, "image/jpeg", "image/png")
IMAGE_BODY["requestBody"]["content"]["application/json"] = {"schema": _inlined(JsonImages)}
VIDEO_BODY = _upload("video", _BINARY["schema"], "video/mp4", "video/webm")

DETECT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": JsonResponse,
        "description": "detections, or the files chosen by `format`",
        "headers": {
            "Failed-Images": {
                "description": "positions of the images that could not be read, from 1",
                "schema": {"type": "string"},
            }
        },
        "content": {
            "application/json": {"examples": examples.responses()},
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
        "description": "JSON Lines with one line per frame; with `format=coco` a JSON list",
        "content": {
            "application/jsonl": {"schema": {"type": "string"}, "example": examples.frame()},
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
        },
    },
    **problems(401, 403, 404, 409, 422),
}
STATUS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": {"status": "ok"}}}}
}
METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}}}
}
