"""The REST application: its routes, who may call them, and its page."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatch
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from starlette.staticfiles import StaticFiles

from detect.serving import image_routes, schemas, video_routes
from detect.serving.limits import Limits
from detect.serving.metrics import MEDIA_TYPE
from detect.serving.middleware import Watched
from detect.serving.model_registry import Served
from detect.serving.problems import ProblemError, answer_with_them
from detect.serving.service import Service
from detect.text import unknown

_ABOUT = "Find objects in images and videos. Errors are problem documents (RFC 9457); 503 says when to come again."
_PAGE = Path(__file__).parent / "page"


def create_app(
    load: Callable[[], Mapping[str, Served]],
    limits: Limits,
    *,
    api_key: str | None = None,
    origins: Sequence[str] = (),
    hosts: Sequence[str] = (),
) -> FastAPI:
    """The application, which owns a queue and a folder from now until it is shut down.

    load: brings the models by name, the first for callers who name none; what it raises is raised here.
    api_key: asked of callers of /v1, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``.
    origins: web pages that may call; by default none but our own.
    hosts: names of ours, beside those that no stranger can own, by which callers without a key may ask for /v1;
        ``*.example.org`` stands for all that end so, and ``*`` for any.
    """
    service = Service(load, limits)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="detect", description=_ABOUT, lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.service = service
    answer_with_them(app)
    app.add_middleware(Watched, measures=service.measures, limits=limits)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "Location"],
        )
    allowed = [Depends(_own_page_needed(origins)), Depends(_Key(api_key) if api_key else _own_name_needed(hosts))]
    allowed.append(Depends(_known_names_needed))
    app.include_router(image_routes.router, dependencies=allowed)
    app.include_router(video_routes.router, dependencies=allowed)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["operation"])
    def healthz() -> dict[str, str]:
        """Whether the server runs."""
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", tags=["operation"], responses=schemas.problems(503))
    def readyz() -> dict[str, str]:
        """Whether an image would be looked at."""
        if not service.is_ready:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the models are not at work")
        return {"status": "ok"}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    def metrics() -> Response:
        """Counts and times, for Prometheus."""
        return Response(service.measures.text(), media_type=MEDIA_TYPE)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(_PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=_PAGE))
    return app


def _own_page_needed(origins: Sequence[str]) -> Callable[[Request], None]:
    """Browsers tell of a call that another site's page makes, which may be behind the back of whoever looks at it
    (https://www.w3.org/TR/fetch-metadata/)."""

    def check(request: Request) -> None:
        origin = request.headers.get("origin", "")
        if site := request.headers.get("sec-fetch-site"):
            foreign = site not in ("none", "same-origin")
        else:  # which browsers leave out where a page has come without TLS
            foreign = bool(origin) and urlsplit(origin).netloc != request.headers.get("host")
        if foreign and not {"*", origin}.intersection(origins):
            raise ProblemError(HTTPStatus.FORBIDDEN, "pages of other sites may not call; see serve.py --origins")

    return check


def _own_name_needed(hosts: Sequence[str]) -> Callable[[Request], None]:
    """A stranger can have a name of his lead to this machine, and browsers then take his page for ours (DNS rebinding,
    https://en.wikipedia.org/wiki/DNS_rebinding). Nobody on the internet can own an address, or a name without
    a dot."""

    def check(request: Request) -> None:
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        except ValueError:
            name = ".invalid"
        if not (_is_nobodys(name) or any(fnmatch(name, host.lower()) for host in hosts)):
            words = "the server does not know that it is called by the name in Host; see serve.py --hosts"
            raise ProblemError(HTTPStatus.FORBIDDEN, words)

    return check


def _is_nobodys(host: str) -> bool:
    """Whether it is an address, or a name that cannot be had."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(".localhost")
    return True


def _known_names_needed(request: Request) -> None:
    """A name that nothing asks for is a slip, which would else change nothing and stay unseen."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    if strangers := [name for name in request.query_params if name not in known]:
        words = unknown("parameter", strangers[0][:60], known or ["none"])
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, words)


class _Key(HTTPBearer):
    """As a dependency it asks callers for ``key``, and stands in the description."""

    def __init__(self, key: str) -> None:
        super().__init__(auto_error=False)
        self._key = key.encode()

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode("latin-1"), self._key):
            words = "a key is needed, as Authorization: Bearer KEY"
            raise ProblemError(HTTPStatus.UNAUTHORIZED, words, {"WWW-Authenticate": "Bearer"})
