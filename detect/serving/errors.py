"""Errors that are answered with an HTTP status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus


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


class ServerBusyError(ProblemError):
    """Status 503: the queue is full or another resource is in use. A later attempt can succeed.

    seconds: time after which the caller should try again.
    """

    def __init__(self, seconds: float, why: str = "the server is busy") -> None:
        after = math.ceil(seconds)
        headers = {"Retry-After": str(after)}
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}; try again in {after} s", headers)
