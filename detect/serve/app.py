"""The REST application: its routes, who may call them, and its page."""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import anyio
from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detect.serve import measures, pictures, videos
from detect.serve.limits import Limits
from detect.serve.models import Served
from detect.serve.problems import ProblemError, answer_with_them
from detect.serve.service import Service

# The page has its own files, pictures that it has made itself, and no other host.
_PAGE = Path(__file__).parent / "page"
_LINGER = 2.0  # seconds for a caller to notice an answer before its end
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self' 'unsafe-inline';"
        " frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
    ),
}


def create_app(
    load: Callable[[], Mapping[str, Served]],
    limits: Limits,
    *,
    api_key: str | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """The application, which owns a queue and a folder from now until it is shut down.

    load: brings the models by name, the first for callers who name none; what it raises is raised here.
    api_key: asked of callers of /v1, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.
    origins: web pages that may call; by default none but our own.
    """
    service = Service(load, limits)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="detect", description=__doc__, lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service = service
    answer_with_them(app)
    if origins:
        app.add_middleware(CORSMiddleware, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(_Watched, service=service)
    keyed = [Depends(_own_page_needed(origins)), *([Depends(_key_needed(api_key))] if api_key else [])]
    app.include_router(pictures.router, dependencies=keyed)
    app.include_router(videos.router, dependencies=keyed)

    @app.get("/healthz", tags=["operation"])
    def healthz() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"])
    def readyz() -> dict[str, str]:
        """Whether a picture would be looked at."""
        if not service.is_ready:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the models are not at work")
        return {"status": "ok"}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.measures.text(), media_type=measures.MEDIA_TYPE)

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(_PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=_PAGE))
    return app


def _own_page_needed(origins: Sequence[str]) -> Callable[[Request], None]:
    """Browsers tell of a call that another site's page makes, which may be behind the back of whoever looks at it
    (https://www.w3.org/TR/fetch-metadata/)."""

    def check(request: Request) -> None:
        foreign = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign and not {"*", request.headers.get("origin")}.intersection(origins):
            raise ProblemError(HTTPStatus.FORBIDDEN, "pages of other sites may not call; see serve.py --origins")

    return check


def _key_needed(api_key: str) -> Callable[[Request], None]:
    def check(request: Request) -> None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), api_key.encode()):
            words = "a key is needed, as Authorization: Bearer KEY"
            raise ProblemError(HTTPStatus.UNAUTHORIZED, words, {"WWW-Authenticate": "Bearer"})

    return check


def _brings_a_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


class _Watched:
    """Counts and times requests, gives answers the headers that keep browsers from guessing, and hangs up on those
    who are answered and go on sending."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.measures = service.measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR.value
        sending = _brings_a_body(scope)

        async def receive_and_look() -> Message:
            nonlocal sending
            message = await receive()
            sending = sending and message.get("more_body", False)
            return message

        async def look_and_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if sending:
                    headers["Connection"] = "close"
            elif sending and not message.get("more_body", False):
                # The answer goes out, and time passes before the line is cut, or it would be lost on the way.
                await send({**message, "more_body": True})
                with anyio.move_on_after(_LINGER):
                    while sending:
                        await receive_and_look()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self.app(scope, receive_and_look, look_and_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # not the path, which may be anything
            self.measures.request(scope["method"], route, status, time.perf_counter() - began)
