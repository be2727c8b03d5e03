"""Around the application: whatever it answers goes out within limits, counted, and with the right headers."""

from __future__ import annotations

import time
from contextlib import ExitStack
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detect.serving import problems
from detect.serving.limits import Limits
from detect.serving.metrics import Measures

_LINGER = 2.0  # seconds for a caller to notice an answer before its end
_PIECE = 2**18  # bytes that are handed over at once, so that the rest is not kept twice
# The pages have their own files, images that they have made themselves, and no other host.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none';"
        " form-action 'none'; base-uri 'none'"
    ),
}


class Watched:
    """Counts and times requests, gives answers the headers that keep browsers from guessing, turns what breaks into a
    problem document, gives up callers who do not listen, and hangs up on those who are answered and go on sending.

    ``request.state.shares`` is an ExitStack that is closed when the answer has gone out.
    """

    def __init__(self, app: ASGIApp, measures: Measures, limits: Limits) -> None:
        self.app = app
        self.measures = measures
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answer(scope, receive, send, self.limits.upload_seconds)
        try:
            with ExitStack() as shares:
                scope.setdefault("state", {})["shares"] = shares
                await self.app(scope, answer.receive, answer.send)
        except Exception as error:
            if answer.is_given_up:  # of which the web server says that the answer is not complete
                return
            if answer.status is not None:
                raise
            document = problems.of_a_bug(error, f"at {scope['method']} {scope['path']}")
            await document(scope, answer.receive, answer.send)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # not the path, which may be anything
            status = answer.status or HTTPStatus.INTERNAL_SERVER_ERROR.value
            self.measures.request(scope["method"], route, status, time.perf_counter() - began)


class _Answer:
    """What goes between the application and a caller. status: of the answer, once it has begun.
    is_given_up: the caller has not taken it in time.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: float) -> None:
        headers = Headers(scope=scope)
        self.status: int | None = None
        self.is_given_up = False
        self._receive, self._send, self._patience = receive, send, patience
        self._body_comes = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_comes = self._body_comes and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._body_comes:
                headers["Connection"] = "close"
            await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for at in range(0, len(body), _PIECE):
            try:
                with anyio.fail_after(self._patience):
                    await self._send({**message, "body": body[at : at + _PIECE], "more_body": True})
            except TimeoutError:
                self.is_given_up = True
                raise
        if more:
            return
        if self._body_comes:
            # The answer is out, and time passes before the line is cut, or it would be lost on the way.
            with anyio.move_on_after(_LINGER):
                while self._body_comes:
                    await self.receive()
        await self._send({"type": "http.response.body"})
