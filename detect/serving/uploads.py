"""Read the body of a request: images into memory, a video into a file. The content decides the type, not the name."""

from __future__ import annotations

import errno
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from detect.errors import MediaError
from detect.media import formats
from detect.media.encoding import EncodedImage
from detect.media.images import read_header, read_image
from detect.serving.config import ServeConfig
from detect.serving.errors import ImageFailure, ImageProblemError, ProblemError
from detect.serving.json_images import json_images, printable

IMAGE_FIELD, VIDEO_FIELD = "image", "video"  # names of the form fields
_MULTIPART, _JSON = "multipart/form-data", "application/json"


async def receive_images(
    request: Request, config: ServeConfig, take_bytes: Callable[[int], None]
) -> list[EncodedImage | ImageFailure]:
    """Return the image files of a request: the form fields called ``image``, those of a JSON body (see
    ``json_images``), or the whole body as one file.

    take_bytes: called with the number of bytes before they are kept in memory.
    Raises ProblemError 400 (malformed form or JSON), 403 (web addresses are not allowed), 408 (too slow), 413 (too
    large) or 422 (no image).
    """
    chunks = body_chunks(request, config.max_request_bytes, config.stall_timeout, take_bytes)
    try:
        with anyio.fail_after(config.upload_timeout):
            if _media_type(request) == _MULTIPART:
                max_files = config.max_images
                parser = MultiPartParser(request.headers, chunks, max_files=max_files, max_fields=max_files)
                parser.spool_max_size = config.max_request_bytes + 1  # keeps every file in memory
                async with _parsed(parser) as form:
                    files = _files(form, IMAGE_FIELD)
                    return [EncodedImage(await file.read(), printable(file.filename or "the image")) for file in files]
            body = b"".join([chunk async for chunk in chunks])
            if body and _media_type(request) == _JSON:
                return await json_images(body, config, take_bytes)
    except TimeoutError:
        detail = f"the request did not arrive within {config.upload_timeout:g} seconds"
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    if not body:
        detail = f"no image: send its bytes as the body, or as the field '{IMAGE_FIELD}' of a form"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return [EncodedImage(body)]


async def body_chunks(
    request: Request, max_bytes: int, stall_timeout: float, take_bytes: Callable[[int], None] = lambda _: None
) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request in chunks, each after a call of ``take_bytes`` with its size.

    Raises ProblemError 413 as soon as the body is known to be larger than ``max_bytes``, and TimeoutError when no byte
    arrives for ``stall_timeout`` seconds.
    """
    too_large = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have at most {max_bytes:,} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    received, stream = 0, request.stream()
    while True:
        with anyio.fail_after(stall_timeout):
            chunk = await anext(stream, None)
        if chunk is None:
            return
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        take_bytes(len(chunk))
        yield chunk


def decode_image(file: EncodedImage, config: ServeConfig, take_pixels: Callable[[int], None]) -> np.ndarray:
    """Return an uploaded image as uint8 RGB [H, W, 3], EXIF orientation applied.

    take_pixels: called with the number of pixels before the image is decoded.
    Raises ImageProblemError 413 (too many pixels), 415 (not an image) or 422 (damaged), and what ``take_pixels``
    raises.
    """
    if formats.begins_as_video(file):
        raise ImageProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{file} is a video; send it to /v1/detect/video")
    try:
        height, width = read_header(file, config.max_pixels).image_hw
    except MediaError as error:
        raise ImageProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from None
    if height * width > config.max_pixels:
        detail = f"{file} has {width}x{height} pixels; an image may have at most {config.max_pixels:,}"
        raise ImageProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    take_pixels(height * width)
    try:
        return read_image(file)
    except MediaError as error:
        raise ImageProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def receive_video(request: Request, config: ServeConfig, path: Path) -> None:
    """Write the form field called ``video``, or the whole body, to ``path``.

    Raises ProblemError 400 (malformed form), 408 (too slow), 413 (too large), 415 (not a video), 422 (no video) or 507
    (disk full).
    """
    try:
        with anyio.fail_after(config.upload_timeout * max(1, config.max_video_bytes / config.max_request_bytes)):
            await _save_video(request, config, path)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "the video did not arrive in time") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        detail = "the disk of the server is too full for the video"
        raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, detail) from None
    if not path.stat().st_size:
        detail = f"no video, or an empty one: send its bytes as the body, or as the field '{VIDEO_FIELD}' of a form"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    if not await anyio.to_thread.run_sync(formats.begins_as_video, path):
        detail = "not a supported video; supported are MP4, MOV, WebM, Matroska, AVI, MPEG, FLV and Ogg"
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)


async def _save_video(request: Request, config: ServeConfig, path: Path) -> None:
    chunks = body_chunks(request, config.max_video_bytes, config.stall_timeout)
    if _media_type(request) != _MULTIPART:
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in chunks:
                await file.write(chunk)
        return
    async with _parsed(MultiPartParser(request.headers, chunks, max_files=1, max_fields=1)) as form:
        upload = _files(form, VIDEO_FIELD)[0].file  # an unnamed temporary file, deleted with the form
        with path.open("wb") as file:
            await anyio.to_thread.run_sync(shutil.copyfileobj, upload, file)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def _parsed(parser: MultiPartParser) -> AsyncIterator[FormData]:
    """Yield the form, whose files exist until the end of the block. Raises ProblemError 400 and 413."""
    try:
        form = await parser.parse()
    except UnicodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "malformed form: its charset is not UTF-8") from None
    except MultiPartException as error:
        is_too_large = error.message.startswith("Too many files")
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if is_too_large else HTTPStatus.BAD_REQUEST
        raise ProblemError(status, f"malformed form: {error.message}") from None
    try:
        yield form
    finally:
        await form.close()


def _files(form: FormData, field: str) -> list[UploadFile]:
    """Return the files of one form field. Raises ProblemError 422 when it has none, or when there are other fields."""
    values = form.getlist(field)
    files = [value for value in values if isinstance(value, UploadFile)]
    names = [printable(name) for name in form]
    if not values:
        listed = ", ".join(f"'{name}'" for name in names) or "none"
        detail = f"the form has no field '{field}'; its fields are: {listed}"
    elif not files:
        detail = f"the form field '{field}' is text, but must be a file"
    elif others := [name for name in names if name != field]:
        detail = f"unexpected form field '{others[0]}'; parameters belong in the URL, as in ?threshold=0.7"
    else:
        return files
    raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
