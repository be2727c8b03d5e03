"""What a caller did wrong, or cannot have now, as a JSON problem document (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from detect.serving.quota import FullError, TooMuchError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("detect.serving")


class ProblemError(Exception):
    """An answer that is none. detail: what is wrong, in words for whoever called."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def document(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem as a response; its type is "about:blank", with which the title is that of the status."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
    return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)


def answer_with_them(app: FastAPI) -> None:
    """Have ``app`` answer every error so that it foresees, of its own, of the framework's and of ours."""

    @app.exception_handler(ProblemError)
    async def of_ours(_: Request, problem: ProblemError) -> JSONResponse:
        return document(problem.status, problem.detail, problem.headers)

    @app.exception_handler(HTTPException)
    async def of_the_framework(_: Request, error: HTTPException) -> JSONResponse:
        return document(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        said = (f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors())
        return document(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(said))

    @app.exception_handler(FullError)
    async def of_others(_: Request, __: FullError) -> JSONResponse:
        return document(HTTPStatus.SERVICE_UNAVAILABLE, "others have all the memory; try again", {"Retry-After": "1"})

    @app.exception_handler(TooMuchError)
    async def of_greed(_: Request, error: TooMuchError) -> JSONResponse:
        words = f"a request may have {error.most:,} pixels in all of its images"
        return document(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)

    @app.exception_handler(ClientDisconnect)
    async def of_nobody(_: Request, __: ClientDisconnect) -> JSONResponse:
        return document(HTTPStatus.BAD_REQUEST, "the caller has hung up")


def of_a_bug(error: Exception, where: str) -> JSONResponse:
    """For what nobody has foreseen; its traceback stays in the log."""
    number = logged(error, where)
    return document(HTTPStatus.INTERNAL_SERVER_ERROR, f"something broke here; the server's log calls it {number}")


def logged(error: Exception, where: str) -> str:
    """The number by which the log tells of ``error``, with its traceback."""
    number = uuid.uuid4().hex[:12]
    _LOG.error("error %s %s", number, where, exc_info=error)
    return number
