"""Error responses: JSON problem documents (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from detect.serving.errors import ProblemError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("detect.serving")


def problem_response(problem: ProblemError) -> JSONResponse:
    """Return the response of a problem."""
    return JSONResponse(problem.document(), problem.status, dict(problem.headers or {}), MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every expected error, its own and the framework's, with a problem document."""

    def handle(error_class: type[Exception], problem: Callable[[Any], ProblemError]) -> None:
        async def answer(_: Request, error: Exception) -> JSONResponse:
            return problem_response(problem(error))

        app.add_exception_handler(error_class, answer)

    handle(ProblemError, lambda error: error)
    handle(HTTPException, lambda error: ProblemError(error.status_code, str(error.detail), error.headers))
    handle(RequestValidationError, _invalid_parameters)
    handle(ClientDisconnect, lambda _: ProblemError(HTTPStatus.BAD_REQUEST, "the client has disconnected"))


def _invalid_parameters(error: RequestValidationError) -> ProblemError:
    """Name each invalid parameter and what it allows; a parameter of several types has an error for each of them."""
    allowed: dict[str, list[str]] = {}
    for one in error.errors():
        where, *names = one["loc"]
        allowed.setdefault(str(names[0] if names else where), []).append(one["msg"])
    parts = (f"{name}: {', or '.join(messages)}" for name, messages in allowed.items())
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(parts))


def internal_error_response(error: Exception, where: str) -> JSONResponse:
    """Log an unexpected error and return a problem document with status 500 that names its log entry.

    where: words for the log, such as ``in POST /v1/detect``.
    """
    return problem_response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, internal_error_detail(error, where)))


def internal_error_detail(error: Exception, where: str) -> str:
    """Log an unexpected error with its traceback and return words for the caller that name its log entry."""
    reference = uuid.uuid4().hex[:12]
    _LOG.error("error %s %s", reference, where, exc_info=error)
    return f"internal error; its entry in the log of the server is {reference}"
