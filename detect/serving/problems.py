"""Error responses: JSON problem documents (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457)."""

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

from detect.serving.quota import QuotaBusyError, QuotaExceededError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("detect.serving")


class ProblemError(Exception):
    """HTTP error, returned to the client as a problem document (RFC 9457).

    status: HTTP status of the response.
    detail: explanation for the caller, without paths or internals of the server.
    headers: additional headers of the response.
    """

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


def problem_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a problem document of type ``about:blank``, whose title is the standard phrase of ``status``."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": int(status), "detail": detail}
    return JSONResponse(content, status, dict(headers or {}), MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every expected error, its own and the framework's, with a problem document."""

    @app.exception_handler(ProblemError)
    async def on_problem(_: Request, problem: ProblemError) -> JSONResponse:
        return problem_response(problem.status, problem.detail, problem.headers)

    @app.exception_handler(HTTPException)
    async def on_framework_error(_: Request, error: HTTPException) -> JSONResponse:
        return problem_response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_parameters(_: Request, error: RequestValidationError) -> JSONResponse:
        parts = (f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors())
        return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(parts))

    @app.exception_handler(QuotaBusyError)
    async def on_busy_quota(_: Request, __: QuotaBusyError) -> JSONResponse:
        detail = "other requests are using all the memory of the server; try again"
        return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"})

    @app.exception_handler(QuotaExceededError)
    async def on_exceeded_quota(_: Request, error: QuotaExceededError) -> JSONResponse:
        detail = f"all images of a request together may have at most {error.limit:,} pixels"
        return problem_response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, __: ClientDisconnect) -> JSONResponse:
        return problem_response(HTTPStatus.BAD_REQUEST, "the client has disconnected")


def internal_error_response(error: Exception, where: str) -> JSONResponse:
    """Log an unexpected error and return a problem document with status 500 that names its log entry.

    where: words for the log, such as ``in POST /v1/detect``.
    """
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, internal_error_detail(error, where))


def internal_error_detail(error: Exception, where: str) -> str:
    """Log an unexpected error with its traceback and return words for the caller that name its log entry."""
    reference = uuid.uuid4().hex[:12]
    _LOG.error("error %s %s", reference, where, exc_info=error)
    return f"internal error; its entry in the log of the server is {reference}"
