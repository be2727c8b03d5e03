"""What a request brings: images, held in memory, or a video. All within limits, and known by their content."""

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
from detect.media.encoding import Encoded
from detect.media.images import read_header, read_image
from detect.serving.limits import Limits
from detect.serving.problems import ProblemError

IMAGE, VIDEO = "image", "video"  # fields of a form
_MULTIPART = "multipart/form-data"
_LONGEST_NAME = 200
_SILENCE = 10.0  # seconds without a byte, after which a caller is given up


async def images_of(request: Request, limits: Limits, take: Callable[[int], None]) -> list[Encoded]:
    """The files that a request brings: those of the form's fields called IMAGE, or its whole body as one.

    take: called with the number of bytes before they are kept.

    ProblemError 400 for a broken form, 408, 413 and 422.
    """
    chunks = within(request, limits.bytes_, take)
    try:
        with anyio.fail_after(limits.upload_seconds):
            if _is_form(request):
                most = limits.images
                parser = MultiPartParser(request.headers, chunks, max_files=most, max_fields=most)
                parser.spool_max_size = limits.bytes_ + 1  # more than can come: none is written to the disk
                async with _parsed(parser) as form:
                    files = _files(form, IMAGE)
                    return [Encoded(await file.read(), _shown(file.filename or "the image")) for file in files]
            body = b"".join([chunk async for chunk in chunks])
    except TimeoutError:
        words = f"the request did not arrive within {limits.upload_seconds:g} seconds"
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, words) from None
    if not body:
        words = f"no image: send its bytes as the body, or as the field '{IMAGE}' of a form"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)
    return [Encoded(body)]


async def within(
    request: Request, most: int, take: Callable[[int], None] = lambda _: None
) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece, after ``take`` of its size. ProblemError 413 as soon as it is clear that it has more
    than ``most`` bytes, TimeoutError where nothing comes for a while."""
    too_large = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have at most {most:,} bytes")
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > most:
        raise too_large
    count, stream = 0, request.stream()
    while True:
        with anyio.fail_after(_SILENCE):
            chunk = await anext(stream, None)
        if chunk is None:
            return
        count += len(chunk)
        if count > most:
            raise too_large
        take(len(chunk))
        yield chunk


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _MULTIPART


@asynccontextmanager
async def _parsed(parser: MultiPartParser) -> AsyncIterator[FormData]:
    """The form, whose files are there while the block runs. ProblemError 400 and 413."""
    try:
        form = await parser.parse()
    except UnicodeError:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the form cannot be taken: its charset is not UTF-8") from None
    except MultiPartException as error:
        many = error.message.startswith("Too many files")
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if many else HTTPStatus.BAD_REQUEST
        raise ProblemError(status, f"the form cannot be taken: {error.message}") from None
    try:
        yield form
    finally:
        await form.close()


def _files(form: FormData, field: str) -> list[UploadFile]:
    """Those of the field; ProblemError 422 where it has none."""
    values = form.getlist(field)
    files = [value for value in values if isinstance(value, UploadFile)]
    names = [_shown(name) for name in form]
    named = ", ".join(f"'{name}'" for name in names)
    if not values:
        words = f"the form has no field '{field}'; its fields are {named or 'none'}"
    elif not files:
        words = f"the field '{field}' is text; it should be a file"
    elif others := [name for name in names if name != field]:
        words = f"the form has a field '{others[0]}' too; what is wanted stands in the address: ?threshold=0.7"
    else:
        return files
    raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)


async def video_of(request: Request, limits: Limits, path: Path) -> None:
    """Write the form's field called VIDEO, or the body, to ``path``.

    ProblemError 400, 408, 413, 422, 507, and 415 where its first bytes are those of no video.
    """
    try:
        with anyio.fail_after(limits.upload_seconds * max(1, limits.video_bytes / limits.bytes_)):
            await _save_video(request, limits, path)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "the video did not arrive in time") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, "there is no room for the video") from None
    if not path.stat().st_size:
        words = f"no video, or an empty one: send its bytes as the body, or as the field '{VIDEO}' of a form"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)
    if not await anyio.to_thread.run_sync(formats.begins_as_video, path):
        words = "this is no video that is taken: MP4, MOV, WebM, Matroska, AVI, MPEG, FLV or Ogg"
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, words)


async def _save_video(request: Request, limits: Limits, path: Path) -> None:
    chunks = within(request, limits.video_bytes)
    if not _is_form(request):
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in chunks:
                await file.write(chunk)
        return
    async with _parsed(MultiPartParser(request.headers, chunks, max_files=1, max_fields=1)) as form:
        sent = _files(form, VIDEO)[0].file  # which has no name on the disk, and is gone with the form
        with path.open("wb") as file:
            await anyio.to_thread.run_sync(shutil.copyfileobj, sent, file)


def decoded(file: Encoded, limits: Limits, take: Callable[[int], None]) -> np.ndarray:
    """uint8 RGB [H, W, 3], after ``take`` of the number of its pixels. ProblemError 413 for too many, 415 for what is
    no image, 422 for a broken one."""
    if formats.begins_as_video(file):
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{file} is a video; those go to /v1/detect/video")
    try:
        height, width = read_header(file, limits.pixels).image_hw
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from None
    if height * width > limits.pixels:
        words = f"{file} has {width}x{height} pixels, more than the {limits.pixels:,} that are taken"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
    take(height * width)
    try:
        return read_image(file)
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def _shown(name: str) -> str:
    """A name that a stranger gave, for an answer."""
    return "".join(c if c.isprintable() else "?" for c in name[:_LONGEST_NAME])
