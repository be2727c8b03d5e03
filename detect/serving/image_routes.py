"""The routes of images and of the models that look at them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from detect.errors import MediaError, UsageError
from detect.serving import model_registry, responses, schemas, uploads
from detect.serving.model_registry import Served
from detect.serving.problems import ProblemError
from detect.serving.responses import Answered
from detect.serving.service import Service, busy
from detect.structures.class_names import ClassNames

T = TypeVar("T")
router = APIRouter(prefix="/v1", tags=["images"])
CLASSES = "only these, by name or category id: classes=cat&classes=dog"


class Format(str, Enum):
    """Of an answer."""

    JSON = "json"
    IMAGE = "image"
    MASKS = "masks"


class ImageType(str, Enum):
    """Of the file of an annotated image."""

    PNG = "png"
    JPEG = "jpeg"


class MasksAs(str, Enum):
    """A file for each mask, or one in which pixels have the number of their object."""

    ZIP = "zip"
    MAP = "map"


def service_of(request: Request) -> Service:
    """What the application was made with."""
    return request.app.state.service


@router.get("/models", response_model=schemas.Models, responses=schemas.problems(401, 403, 422))
def list_models(request: Request) -> dict[str, Any]:
    """The models that may be asked for, the first of which answers who names none."""
    return {"models": [served.facts() for served in service_of(request).served.values()]}


@router.post("/detect", responses=schemas.ANSWERS, openapi_extra=schemas.IMAGES, response_model=None)
async def detect(
    request: Request,
    model: Annotated[str | None, Query(description="one of /v1/models; by default the first")] = None,
    threshold: Annotated[float | None, Query(ge=0, le=1, description="leave out what scores less")] = None,
    classes: Annotated[list[str] | None, Query(description=CLASSES)] = None,
    format: Annotated[Format, Query(description="what to answer")] = Format.JSON,
    image_type: Annotated[ImageType, Query(description="of format=image")] = ImageType.PNG,
    masks: Annotated[MasksAs, Query(description="of format=masks")] = MasksAs.ZIP,
) -> Response:
    """Find objects in images: in the form's fields `image`, or in the body as one image.

    Boxes and masks are in pixels of the image as it is shown, turned as its EXIF orientation says. Of several
    images the annotated ones, and their masks, come in one zip archive.
    """
    service = service_of(request)
    began = time.perf_counter()
    shares = service.admit(request)
    served = model_registry.chosen(service.served, model)
    labels = labels_of(served, classes)
    if format == Format.MASKS and not served.has_masks:
        words = f"the model {served.name} finds no masks"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)
    files = await uploads.images_of(request, service.limits, shares.bytes_)
    service.check_room(len(files))
    try:
        with anyio.fail_after(service.limits.answer_seconds):
            limits, least = service.limits, served.predictor.threshold if threshold is None else threshold
            images = [await _in_thread(service, uploads.decoded, file, limits, shares.pixels) for file in files]
            found = await service.look(served, images, least, request)
            if labels is not None:
                found = [one.filter(labels=labels) for one in found]
            pictures = list(map(Answered, map(str, files), images, found))
            if format == Format.JSON:
                seconds = time.perf_counter() - began
                names = served.predictor.class_names
                return JSONResponse(
                    await _in_thread(service, responses.as_json, pictures, names, served.name, seconds)
                )
            files_made = _files(pictures, served.predictor.class_names, format, image_type, masks)
            if format == Format.IMAGE:
                return await _as_files(service, files_made, f"image/{image_type.value}")
            return await _as_files(service, files_made, "image/png" if masks == MasksAs.MAP else None)
    except TimeoutError:
        raise busy(service.limits.answer_seconds) from None


def labels_of(served: Served, classes: list[str] | None) -> list[int] | None:
    """Of names or category ids; ProblemError 422 for one that the model does not know."""
    try:
        return served.predictor.class_names.labels(classes) if classes else None
    except UsageError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _in_thread(service: Service, work: Callable[..., T], *arguments: Any) -> T:
    return await anyio.to_thread.run_sync(work, *arguments, limiter=service.threads)


def _files(
    images: list[Answered], names: ClassNames, form: Format, image_type: ImageType, masks: MasksAs
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all that is answered: a file for each image, or one for each mask."""
    ending = {"png": "png", "jpeg": "jpg"}[image_type.value]
    for number, one in enumerate(images, 1):
        if form == Format.IMAGE:
            yield f"{number:03}.{ending}", responses.as_image(one, names, image_type.value.upper())
        elif masks == MasksAs.MAP:
            yield f"{number:03}.png", responses.label_map(one.found)
        else:
            folder = f"{number:03}/" if len(images) > 1 else ""
            yield from ((folder + name, content) for name, content in responses.mask_files(one.found, names))


async def _as_files(service: Service, files: Iterator[tuple[str, bytes]], whole: str | None) -> Response:
    """One after the other, so that others have a turn, and a deadline is noticed: the only one as it is, several in an
    archive."""
    made, end = [], None
    try:
        while (one := await _in_thread(service, next, files, end)) is not end:
            made.append(one)
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}; take image_type=png") from None
    if whole and len(made) == 1:
        return Response(made[0][1], media_type=whole)
    return Response(await _in_thread(service, responses.zipped, iter(made)), media_type="application/zip")
