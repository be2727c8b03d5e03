"""Errors that are answered with an HTTP status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


class ProblemError(Exception):
    """HTTP error, returned to the client as a problem document (RFC 9457).

    status: HTTP status of the response.
    detail: explanation for the caller, without paths or internals of the server.
    headers: additional headers of the response.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def document(self) -> dict[str, Any]:
        """Return the problem document, of type ``about:blank``, whose title is the standard phrase of the status."""
        status = HTTPStatus(self.status)
        return {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": self.detail}


class ImageProblemError(ProblemError):
    """Problem of one image, which does not concern the other images of its request."""


@dataclass(frozen=True)
class ImageFailure:
    """An image that could not be read.

    name: the caller's name for the image.
    problem: why.
    """

    name: str
    problem: ImageProblemError

    def entry(self) -> dict[str, Any]:
        """Return the entry of this image in ``images``: ``{"source", "error"}`` with a problem document."""
        return {"source": self.name, "error": self.problem.document()}


class ServerBusyError(ProblemError):
    """Status 503: the queue is full or another resource is in use. A later attempt can succeed.

    seconds: time after which the caller should try again.
    """

    def __init__(self, seconds: float, why: str = "the server is busy") -> None:
        after = math.ceil(seconds)
        headers = {"Retry-After": str(after)}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}; try again in {after} s", headers)
