"""ASGI middleware around the application: metrics, security headers, internal errors and slow or endless clients."""

from __future__ import annotations

import time
from contextlib import ExitStack
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detect.serving import problems
from detect.serving.metrics import Metrics

_LINGER = 2.0  # seconds to keep an answered connection open for a client that is still sending
_CHUNK = 2**18  # bytes passed to the web server in one piece, so that the rest of a response is not copied
# The pages use files of this server and images that they have created themselves, and contact no other host.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none';"
        " form-action 'none'; base-uri 'none'"
    ),
}


class ServerMiddleware:
    """ASGI middleware of the REST application.

    It counts and times requests, adds security headers, answers unexpected exceptions with a problem document, aborts
    responses that the client does not read, and closes connections whose client goes on sending after the response.

    ``request.state.resources`` is an ExitStack. It is closed after the response has been sent, which releases what the
    request has reserved.

    timeout: seconds within which a client must read each part of the response.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, timeout: float) -> None:
        self.app = app
        self.metrics = metrics
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        connection = _Connection(scope, receive, send, self.timeout)
        try:
            with ExitStack() as resources:
                scope.setdefault("state", {})["resources"] = resources
                await self.app(scope, connection.receive, connection.send)
        except Exception as error:
            if connection.is_aborted:  # the web server reports the incomplete response
                return
            if connection.status is not None:
                raise
            response = problems.internal_error_response(error, f"in {scope['method']} {scope['path']}")
            await response(scope, connection.receive, connection.send)
        finally:
            # The route, not the path, since a caller can invent paths.
            route = getattr(scope.get("route"), "path", "other")
            status = connection.status or HTTPStatus.INTERNAL_SERVER_ERROR.value
            self.metrics.record_request(scope["method"], route, status, time.perf_counter() - start)


class _Connection:
    """The messages between the application and one client.

    status: HTTP status of the response, None until it has started.
    is_aborted: whether the client failed to read the response within the timeout.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, timeout: float) -> None:
        headers = Headers(scope=scope)
        self.status: int | None = None
        self.is_aborted = False
        self._receive, self._send, self._timeout = receive, send, timeout
        self._has_more_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    async def receive(self) -> Message:
        message = await self._receive()
        self._has_more_body = self._has_more_body and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._has_more_body:
                headers["Connection"] = "close"
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, len(body), _CHUNK):
            try:
                with anyio.fail_after(self._timeout):
                    await self._send({**message, "body": body[start : start + _CHUNK], "more_body": True})
            except TimeoutError:
                self.is_aborted = True
                raise
        if more:
            return
        if self._has_more_body:
            # Closing at once would reset the connection, and the client could lose the response.
            with anyio.move_on_after(_LINGER):
                while self._has_more_body:
                    await self.receive()
        await self._send({"type": "http.response.body"})
