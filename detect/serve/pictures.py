"""The routes of pictures and of the models that look at them."""

from __future__ import annotations

import time
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from detect.errors import MediaError, UsageError
from detect.serve import answers, models, schemas, uploads
from detect.serve.answers import Answered
from detect.serve.models import Served
from detect.serve.problems import ProblemError
from detect.serve.service import Service

router = APIRouter(prefix="/v1", tags=["pictures"])


class Format(str, Enum):
    """Of an answer."""

    JSON = "json"
    IMAGE = "image"
    MASKS = "masks"


class ImageType(str, Enum):
    """Of the file of an annotated picture."""

    PNG = "png"
    JPEG = "jpeg"


class MasksAs(str, Enum):
    """A file for each mask, or one in which pixels have the number of their object."""

    ZIP = "zip"
    MAP = "map"


def service_of(request: Request) -> Service:
    """What the application was made with."""
    return request.app.state.service


@router.get("/models", response_model=schemas.Models, responses=schemas.problems(401, 403))
def list_models(request: Request) -> dict[str, Any]:
    """The models that may be asked for, the first of which answers who names none."""
    return {"models": [served.facts() for served in service_of(request).served.values()]}


@router.post("/detect", responses=schemas.ANSWERS, openapi_extra=schemas.PICTURES, response_model=None)
async def detect(
    request: Request,
    model: Annotated[str | None, Query(description="one of /v1/models; by default the first")] = None,
    threshold: Annotated[float | None, Query(ge=0, le=1, description="leave out what scores less")] = None,
    classes: Annotated[list[str] | None, Query(description="only these, by name or category id")] = None,
    format: Annotated[Format, Query(description="what to answer")] = Format.JSON,
    image_type: Annotated[ImageType, Query(description="of format=image")] = ImageType.PNG,
    masks: Annotated[MasksAs, Query(description="of format=masks")] = MasksAs.ZIP,
) -> Response:
    """Find objects in pictures: in the form's fields `image`, or in the body as one picture.

    Boxes and masks are in pixels of the picture as it is shown, turned as its EXIF orientation says. Of several
    pictures the annotated ones, and their masks, come in one zip archive.
    """
    service = service_of(request)
    began = time.perf_counter()
    async with service.admitted() as shares:
        served = models.chosen(service.served, model)
        labels = labels_of(served, classes)
        if format == Format.MASKS and not served.has_masks:
            words = f"the model {served.name} finds no masks"
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)
        files = await uploads.pictures_of(request, service.limits, shares.bytes_)
        service.check_room(len(files))
        images = [await _in_thread(service, uploads.decoded, file, service.limits, shares.pixels) for file in files]
        least = served.predictor.threshold if threshold is None else threshold
        found = await service.look(served, images, least, request)
        if labels is not None:
            found = [one.filter(labels=labels) for one in found]
        pictures = [Answered(str(file), *pair) for file, *pair in zip(files, images, found, strict=True)]
        seconds = time.perf_counter() - began
        return await _in_thread(service, _answer, pictures, served, format, image_type, masks, seconds)


def labels_of(served: Served, classes: list[str] | None) -> list[int] | None:
    """Of names or category ids; ProblemError 422 for one that the model does not know."""
    try:
        return served.predictor.class_names.labels(classes) if classes else None
    except UsageError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _in_thread(service: Service, work: Any, *arguments: Any) -> Any:
    return await anyio.to_thread.run_sync(work, *arguments, limiter=service.threads)


def _answer(
    pictures: list[Answered], served: Served, form: Format, image_type: ImageType, masks: MasksAs, seconds: float
) -> Response:
    names = served.predictor.class_names
    if form == Format.JSON:
        return JSONResponse(answers.as_json(pictures, names, served.name, seconds))
    if form == Format.IMAGE:
        kind, ending = image_type.value.upper(), {"png": "png", "jpeg": "jpg"}[image_type.value]
        try:
            files = [(f"{n:03}.{ending}", answers.as_picture(one, names, kind)) for n, one in enumerate(pictures, 1)]
        except MediaError as error:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}; take image_type=png") from None
        return _files(files, f"image/{image_type.value}")
    if masks == MasksAs.MAP:
        files = [(f"{n:03}.png", answers.label_map(one.found)) for n, one in enumerate(pictures, 1)]
        return _files(files, "image/png")
    several = len(pictures) > 1
    files = [
        (f"{n:03}/{name}" if several else name, content)
        for n, one in enumerate(pictures, 1)
        for name, content in answers.mask_files(one.found, names)
    ]
    return Response(answers.zipped(iter(files)), media_type="application/zip")


def _files(files: list[tuple[str, bytes]], media_type: str) -> Response:
    """The only one as it is, several in an archive."""
    if len(files) == 1:
        return Response(files[0][1], media_type=media_type)
    return Response(answers.zipped(iter(files)), media_type="application/zip")
