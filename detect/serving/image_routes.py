"""The routes for images and models."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from detect.errors import MediaError, UsageError
from detect.inference import class_selection
from detect.inference.tiling import MIN_TILE
from detect.media.encoding import EncodedImage
from detect.serving import responses, schemas, uploads
from detect.serving.errors import ImageFailure, ImageProblemError, ProblemError, ServerBusyError
from detect.serving.model_registry import ServedModel, select_model
from detect.serving.responses import ImageResult, Results
from detect.serving.service import Service
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import unknown

T = TypeVar("T")
router = APIRouter(prefix="/v1", tags=["images"])

FORMATS = (*responses.JSON, "image", "masks", *responses.FILE_FORMATS)
_FORMAT_TEXT = (
    "content of the response: `json` (detections), what other tools read (`coco`, `huggingface`, `roboflow`), `image`"
    " (annotated image), `masks`, or the files of this output format in a zip archive:"
    f" {', '.join(f'`{name}`' for name in responses.FILE_FORMATS)}"
)
_DRAW_TEXT = (
    "`false`: format=image is the image without detections, its EXIF orientation applied. The model does not run. For"
    " programs that draw themselves and cannot read the format of the image"
)
FAILED_HEADER = "Failed-Images"

ModelQuery = Annotated[str | None, Query(description="name from /v1/models; default: the first one")]
ThresholdQuery = Annotated[
    float | None,
    Query(ge=0, le=1, description="minimum score of all classes; default: that of each class, see /v1/models"),
]
ClassesQuery = Annotated[
    list[str] | None,
    Query(description="return only these classes, given by name or category id: classes=cat&classes=dog"),
]
NmsQuery = Annotated[
    float | None,
    Query(
        ge=0,
        le=1,
        description="IoU threshold of NMS: if two boxes of a class overlap more, the one with the lower score is"
        " dropped; default: that of the model",
    ),
]
TileQuery = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=MIN_TILE)] | None,
    Query(
        description="also detect in overlapping tiles of larger images, which finds small objects and takes time for"
        " each tile: their side in pixels of the image, or `auto` for tiles at the scale of the training images, only"
        " in images that are much larger; default: no tiles"
    ),
]
MaskFormatQuery = Annotated[
    Literal["rle", "polygons"] | None,
    Query(
        description="masks in JSON: COCO's run-length encoding, or polygons that deviate by at most a pixel; default:"
        " `rle`, and `polygons` for `format=roboflow`",
    ),
]
ImageType = Literal["png", "jpeg"]
MasksLayout = Literal["zip", "map"]


def service_of(request: Request) -> Service:
    """Return the service of the application that received ``request``."""
    return request.app.state.service


@router.get("/models", summary="Models", response_model=schemas.Models, responses=schemas.problems(401, 403, 422))
def list_models(request: Request) -> dict[str, Any]:
    """List the models. The first one is used when a request names none."""
    return {"models": [model.description() for model in service_of(request).models.values()]}


@router.post(
    "/detect",
    summary="Detect objects in images",
    responses=schemas.DETECT_RESPONSES,
    openapi_extra=schemas.IMAGE_BODY,
    response_model=None,
)
async def detect(
    request: Request,
    model: ModelQuery = None,
    threshold: ThresholdQuery = None,
    classes: ClassesQuery = None,
    nms: NmsQuery = None,
    tile: TileQuery = None,
    format: Annotated[str, Query(description=_FORMAT_TEXT, json_schema_extra={"enum": list(FORMATS)})] = "json",
    image_type: Annotated[ImageType, Query(description="file type of format=image")] = "png",
    draw: Annotated[bool, Query(description=_DRAW_TEXT)] = True,
    mask_format: MaskFormatQuery = None,
    masks: Annotated[
        MasksLayout,
        Query(description="layout of format=masks: a file per mask, or one map with the instance of each pixel"),
    ] = "zip",
) -> Response:
    """Detect objects in images: the form fields `image`, the body as one image, or a JSON body with base64 or URLs.

    Boxes and masks are in pixels of the image after its EXIF orientation has been applied. Several annotated images,
    and all masks as files, are sent in one zip archive.

    Of several images, one that cannot be read has an `error` in place of its detections, and the header
    `Failed-Images` lists the positions of such images, from 1. In a zip archive, the file `errors.json` names them.
    """
    service = service_of(request)
    start = time.perf_counter()
    take_bytes, take_pixels = service.admit(request)
    served = select_model(service.models, model)
    labels = labels_of(service.models, served, classes)
    served = with_settings(served, nms, tile)
    if format not in FORMATS:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, unknown("format", format[:60], FORMATS))
    if format == "masks" and not served.predictor.has_masks:
        detail = f"the model {served.name} does not predict masks"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    files = await uploads.receive_images(request, service.config, take_bytes)
    service.check_capacity(len(files))

    async def predict(images: Sequence[np.ndarray]) -> list[Detections]:
        if format == "image" and not draw:
            return [Detections(image.shape[:2]) for image in images]
        service.check_tiles(served, images)
        return await service.predict(served, images, threshold, labels, request)

    try:
        with anyio.fail_after(service.config.timeout):
            results = await _detected(service, files, take_pixels, predict)
            output = _Output(format, image_type, mask_format, masks)
            return await _response(service, served, results, output, start)
    except TimeoutError:
        raise ServerBusyError(service.config.timeout) from None


def labels_of(models: Mapping[str, ServedModel], model: ServedModel, classes: list[str] | None) -> list[int] | None:
    """Return the labels of ``classes``, given by name or category id, or None for all.

    Raises ProblemError 422 for a class that the model does not have; it names another of ``models`` that does.
    """
    if not classes:
        return None
    others = ((f"model={one.name}", one.predictor.class_names) for one in models.values())
    try:
        return class_selection.labels_of(model.predictor.class_names, classes, others)
    except UsageError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def with_settings(model: ServedModel, nms: float | None, tile: int | str | None) -> ServedModel:
    """Return the model with the settings of a request. Raises ProblemError 422 if it does not support them."""
    if nms is None and tile is None:
        return model
    try:
        return replace(model, predictor=model.predictor.with_settings(nms=nms, tile=tile))
    except UsageError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _in_thread(service: Service, function: Callable[..., T], *arguments: Any) -> T:
    return await anyio.to_thread.run_sync(function, *arguments, limiter=service.codec_threads)


@dataclass(frozen=True)
class _Output:
    """What a response contains; see the parameters of ``detect``."""

    format: str
    image_type: ImageType
    mask_format: str | None
    masks: MasksLayout


async def _detected(
    service: Service,
    files: Sequence[EncodedImage | ImageFailure],
    take_pixels: Callable[[int], None],
    predict: Callable[[Sequence[np.ndarray]], Awaitable[list[Detections]]],
) -> Results:
    """Return the result of each image, with what ``predict`` finds in those that can be read. Raises the problem of
    the only image of a request."""
    images = [await _decoded(service, file, take_pixels) for file in files]
    if len(images) == 1 and isinstance(images[0], ImageFailure):
        raise images[0].problem
    readable = [image for image in images if not isinstance(image, ImageFailure)]
    found = iter(await predict(readable))
    return [
        image if isinstance(image, ImageFailure) else ImageResult(str(file), image, next(found))
        for file, image in zip(files, images, strict=True)
    ]


async def _decoded(
    service: Service, file: EncodedImage | ImageFailure, take_pixels: Callable[[int], None]
) -> np.ndarray | ImageFailure:
    """Return the image in a file, uint8 RGB [H, W, 3], or why it cannot be read."""
    if isinstance(file, ImageFailure):
        return file
    try:
        return await _in_thread(service, uploads.decode_image, file, service.config, take_pixels)
    except ImageProblemError as problem:
        return ImageFailure(str(file), problem)


async def _response(
    service: Service, served: ServedModel, results: Results, output: _Output, start: float
) -> Response:
    """Encode the results of a request that began at ``start``, a time of ``time.perf_counter``."""
    names = served.predictor.class_names
    if output.format == "json":
        facts = (served.name, time.perf_counter() - start, output.mask_format)
        response: Response = JSONResponse(await _in_thread(service, responses.to_json, results, names, *facts))
    elif output.format in responses.JSON:
        arguments = (output.format, results, names, output.mask_format)
        response = JSONResponse(await _in_thread(service, responses.to_convention, *arguments))
    else:
        is_map = output.masks == "map"
        single_type = {"image": f"image/{output.image_type}", "masks": "image/png" if is_map else None}
        encoded = _files(results, names, output)
        response = await _file_response(
            service, encoded, single_type.get(output.format) if len(results) == 1 else None
        )
    if failed := [str(i) for i, one in enumerate(results, 1) if isinstance(one, ImageFailure)]:
        response.headers[FAILED_HEADER] = ", ".join(failed)
    return response


def _files(results: Results, names: ClassNames, output: _Output) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files of a response."""
    if output.format in responses.FILE_FORMATS:
        yield from responses.format_files(output.format, results, names)
    else:
        for number, result in enumerate(results, 1):
            if isinstance(result, ImageResult):
                folder = f"{number:03}/" if len(results) > 1 else ""
                yield from _image_files(result, names, output, f"{number:03}", folder)
    yield from responses.error_files(results)


def _image_files(
    result: ImageResult, names: ClassNames, output: _Output, stem: str, folder: str
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files about one image.  stem: name of a single file.  folder: of several files."""
    if output.format == "image":
        suffix = {"png": "png", "jpeg": "jpg"}[output.image_type]
        yield f"{stem}.{suffix}", responses.annotated_image(result, names, output.image_type.upper())
    elif output.masks == "map":
        yield f"{stem}.png", responses.instance_map(result.detections)
    else:
        for name, content in responses.mask_files(result.detections, names):
            yield folder + name, content


async def _file_response(service: Service, files: Iterator[tuple[str, bytes]], single_type: str | None) -> Response:
    """Return a single file with the media type ``single_type``, or a zip archive of all files.

    The files are encoded one at a time, so that other requests take turns and a timeout is noticed.
    """
    encoded, end = [], None
    try:
        while (file := await _in_thread(service, next, files, end)) is not end:
            encoded.append(file)
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}; use image_type=png") from None
    if single_type and len(encoded) == 1:
        return Response(encoded[0][1], media_type=single_type)
    return Response(await _in_thread(service, responses.zip_archive, encoded), media_type="application/zip")
