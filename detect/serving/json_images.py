"""Images in a JSON body: as base64, or as web addresses where the operator allows it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detect.media.encoding import EncodedImage
from detect.progress import spelled
from detect.serving.config import ServeConfig
from detect.serving.errors import ImageFailure, ImageProblemError, ProblemError
from detect.serving.image_urls import MAX_URL, load_image
from detect.text import counted

_RED_PNG = (  # 64 x 64 pixels
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAS0lEQVR42u3PQQkAAAgAsetfWiP4FgYrsKZeS0BA"
    "QEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEDgsqnc8OJg6Ln3AAAAAElFTkSuQmCC"
)
EXAMPLE: dict[str, Any] = {"images": [{"name": "red.png", "base64": _RED_PNG}]}
_EXPECTED = 'expected {"images": [{"base64": TEXT, "name": TEXT}, ...]}'
_EXPECTED_LINK = '; an image may also be {"url": TEXT, "name": TEXT}'
_DATA_URL = "data:"
_MAX_NAME = 200  # characters of a caller's name that are kept


class _Image(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: str | None = Field(None, description="what the response calls the image")


class Base64Image(_Image):
    """An image file as base64, which may begin with `data:image/png;base64,`."""

    base64: str = Field(json_schema_extra={"contentEncoding": "base64"})


class LinkedImage(_Image):
    """The web address of an image file, if the server loads these (`--image-urls`)."""

    # Not checked here, so that an image with another address fails alone.
    url: str = Field(json_schema_extra={"maxLength": MAX_URL, "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})


class JsonImages(BaseModel):
    """Images to detect objects in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": EXAMPLE})
    images: list[Base64Image | LinkedImage] = Field(min_length=1)


def printable(name: str) -> str:
    """Return a caller's file name, shortened, with unprintable characters replaced."""
    return "".join(c if c.isprintable() else "?" for c in name[:_MAX_NAME])


async def json_images(
    body: bytes, config: ServeConfig, take_bytes: Callable[[int], None]
) -> list[EncodedImage | ImageFailure]:
    """Return the image files that a JSON body holds or names; an ImageFailure for one that cannot be loaded.

    take_bytes: called with the number of bytes before they are kept in memory.
    Raises ProblemError 400 (not JSON), 403 (web addresses are not allowed), 413 (too many) or 422 (another content).
    """
    try:
        images = (await anyio.to_thread.run_sync(JsonImages.model_validate_json, body)).images
    except ValidationError as error:
        raise _invalid(error, config.image_urls) from None
    if len(images) > config.max_images:
        detail = f"a request may have at most {counted(config.max_images, 'image')}, not {len(images)}"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    if not config.image_urls and any(isinstance(one, LinkedImage) for one in images):
        detail = "this server loads no images from web addresses; the server setting `image_urls` allows it"
        raise ProblemError(HTTPStatus.FORBIDDEN, spelled(detail))
    loaded: dict[int, EncodedImage | ImageFailure | ProblemError] = {}

    async def load(position: int) -> None:
        loaded[position] = await _loaded(images[position], config, take_bytes)

    async with anyio.create_task_group() as group:
        for position in range(len(images)):
            group.start_soon(load, position)
    results = []
    for _, one in sorted(loaded.items()):
        if isinstance(one, ProblemError):
            raise one
        results.append(one)
    return results


async def _loaded(
    image: Base64Image | LinkedImage, config: ServeConfig, take_bytes: Callable[[int], None]
) -> EncodedImage | ImageFailure | ProblemError:
    """Return the file of an image, or a problem of the whole request."""
    name = _name_of(image)
    try:
        if isinstance(image, LinkedImage):
            limits = config.max_request_bytes, config.stall_timeout
            return EncodedImage(await load_image(image.url, name, *limits, take_bytes, config.url_networks), name)
        return EncodedImage(await anyio.to_thread.run_sync(_decoded, image.base64, name, take_bytes), name)
    except ImageProblemError as problem:
        return ImageFailure(name, problem)
    except ProblemError as problem:
        return problem


def _name_of(image: Base64Image | LinkedImage) -> str:
    """Return what messages and the response call an image."""
    file = image.url.partition("?")[0].rpartition("/")[2] if isinstance(image, LinkedImage) else ""
    return printable(image.name or file or "the image")


def _decoded(text: str, name: str, take_bytes: Callable[[int], None]) -> bytes:
    if text.startswith(_DATA_URL):
        text = text.partition(",")[2]
    take_bytes(len(text) * 3 // 4)
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ImageProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} is not valid base64") from None
    if not content:
        raise ImageProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name} is empty")
    return content


def _invalid(error: ValidationError, image_urls: bool) -> ProblemError:
    """Return the problem of a body that is not JSON, or has another content.  image_urls: whether URLs are loaded."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return ProblemError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {first['msg']}")
    where = " ".join(str(one) for one in first["loc"][:2])  # "images 3"; the rest names our classes
    expected = _EXPECTED + (_EXPECTED_LINK if image_urls else "")
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is invalid at '{where}'; {expected}")
