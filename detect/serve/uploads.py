"""The pictures of a request: read within limits, held in memory, known by their content."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path

import anyio
import anyio.to_thread
import numpy as np
from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from detect.errors import MediaError
from detect.media import kinds
from detect.media.encoded import Encoded
from detect.media.images import read_header, read_image
from detect.serve.limits import Limits
from detect.serve.problems import ProblemError

FIELD = "image"  # of a form
_MULTIPART = "multipart/form-data"
_LONGEST_NAME = 200


async def pictures_of(request: Request, limits: Limits) -> list[Encoded]:
    """The files that a request brings: those of the form's fields called FIELD, or its whole body as one.

    ProblemError 400 for a broken form, 408, 413 and 422.
    """
    try:
        with anyio.fail_after(limits.upload_seconds):
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _MULTIPART:
                return await _of_form(request, limits)
            body = b"".join([chunk async for chunk in within(request, limits.bytes_)])
    except TimeoutError:
        words = f"the request did not arrive within {limits.upload_seconds:g} seconds"
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, words) from None
    if not body:
        words = f"no picture: send its bytes as the body, or as the field '{FIELD}' of a form"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)
    return [Encoded(body)]


async def within(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece; ProblemError 413 as soon as it is clear that it has more than ``most`` bytes."""
    too_large = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {most:,} bytes")
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > most:
        raise too_large
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > most:
            raise too_large
        yield chunk


class _InMemory(MultiPartParser):
    """Files of a form are never written down; they are no larger than the request may be."""

    def __init__(self, request: Request, limits: Limits) -> None:
        self.spool_max_size = limits.bytes_ + 1
        files = limits.pictures
        super().__init__(request.headers, within(request, limits.bytes_), max_files=files, max_fields=files)


async def _of_form(request: Request, limits: Limits) -> list[Encoded]:
    try:
        form = await _InMemory(request, limits).parse()
    except MultiPartException as error:
        many = "Too many" in error.message
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if many else HTTPStatus.BAD_REQUEST
        raise ProblemError(status, f"the form cannot be taken: {error.message}") from None
    try:
        return [Encoded(await file.read(), _shown(file.filename or "the picture")) for file in _files(form)]
    finally:
        await form.close()


def _files(form: FormData) -> list[UploadFile]:
    """Those of FIELD; ProblemError 422 where it has none."""
    values = form.getlist(FIELD)
    if files := [value for value in values if isinstance(value, UploadFile)]:
        return files
    if values:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the field '{FIELD}' is text; it should be a file")
    named = ", ".join(f"'{_shown(name)}'" for name in form) or "none"
    words = f"the form has no field '{FIELD}'; its fields are {named}"
    raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)


async def video_of(request: Request, limits: Limits, path: Path) -> None:
    """Write the body to ``path``. ProblemError 408, 413, and 415 where its first bytes are those of no video."""
    count = 0
    try:
        with anyio.fail_after(limits.upload_seconds * limits.video_bytes / limits.bytes_):
            async with await anyio.open_file(path, "wb") as file:
                async for chunk in within(request, limits.video_bytes):
                    count += await file.write(chunk)
    except TimeoutError:
        raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, "the video did not arrive in time") from None
    if not await anyio.to_thread.run_sync(kinds.begins_as_video, path):
        words = "the body is no video that is taken: MP4, MOV, WebM, Matroska, AVI, MPEG, FLV or Ogg"
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE if count else HTTPStatus.UNPROCESSABLE_ENTITY, words)


def decoded(file: Encoded, limits: Limits) -> np.ndarray:
    """uint8 RGB [H, W, 3]. ProblemError 413 for too many pixels, 415 for what is no picture, 422 for a broken one."""
    try:
        height, width = read_header(file).image_hw
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from None
    if height * width > limits.pixels:
        words = f"{file} has {width}x{height} pixels, more than the {limits.pixels:,} that are taken"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
    try:
        return read_image(file)
    except MediaError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def _shown(name: str) -> str:
    """A name that a stranger gave, for an answer."""
    return "".join(c if c.isprintable() else "?" for c in name[:_LONGEST_NAME])
