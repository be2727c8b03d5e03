"""Error responses: JSON problem documents (RFC 9457, https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from detect.serving.errors import ProblemError
from detect.text import one_line

MEDIA_TYPE = "application/problem+json"
_TYPE_WORDS = {"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "text"}
_LIMIT_WORDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "greater than",
    "maximum": "of at most",
    "exclusiveMaximum": "less than",
}
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
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    handle(ClientDisconnect, lambda _: ProblemError(HTTPStatus.BAD_REQUEST, "the client has disconnected"))


async def _invalid_parameters(request: Request, error: Exception) -> JSONResponse:
    """Name each invalid parameter, what the OpenAPI document allows for it, and its value."""
    assert isinstance(error, RequestValidationError)
    operation = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    schemas = {one["name"]: one["schema"] for one in operation.get("parameters", ())}
    texts = {}  # a parameter of several types has an error for each of them
    for one in error.errors():
        name, given = str(one["loc"][1]), one_line(str(one["input"]), 60)
        allowed = _allowed_in_words(schemas.get(name, {}))
        texts[name] = f"{name} must be {allowed}, not '{given}'" if allowed else f"{name}: {one['msg']}, not '{given}'"
    return problem_response(ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(texts.values())))


def _allowed_in_words(schema: Mapping[str, Any]) -> str:
    """Return the values that the JSON schema of a parameter allows: ``a number from 0 to 1``, or ``png or jpeg``.

    Empty for a schema that these words cannot describe, such as that of a list.
    """
    if "anyOf" in schema:
        allowed = [_allowed_in_words(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(allowed) if all(allowed) else ""
    if values := schema.get("enum") or [schema[key] for key in ("const",) if key in schema]:
        values = [str(value) for value in values]
        return " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
    if (words := _TYPE_WORDS.get(schema.get("type", ""))) is None:
        return ""
    if "maxLength" in schema:
        return f"{words} of at most {schema['maxLength']} characters"
    if "minimum" in schema and "maximum" in schema:
        return f"{words} from {schema['minimum']:g} to {schema['maximum']:g}"
    limits = [f"{limit} {schema[key]:g}" for key, limit in _LIMIT_WORDS.items() if key in schema]
    return " ".join(filter(None, (words, " and ".join(limits))))


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
