"""The REST application: its routes, access checks and web page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from detect import __version__
from detect.serving import image_routes, schemas, video_routes
from detect.serving.access import access_checks
from detect.serving.config import ServeConfig
from detect.serving.errors import ProblemError
from detect.serving.metrics import MEDIA_TYPE
from detect.serving.middleware import ServerMiddleware
from detect.serving.model_registry import ServedModel
from detect.serving.problems import install_error_handlers
from detect.serving.service import Service

_DESCRIPTION = (
    "Detect objects in images and videos. Errors are problem documents (RFC 9457); a response with status 503 states"
    " in `Retry-After` when to try again. [Web page](.), [OpenAPI document](openapi.json)"
)
_PAGE = Path(__file__).parent / "page"
_API_DOCS = Path(__file__).parent / "api_docs"


def create_app(
    load: Callable[[], Mapping[str, ServedModel]],
    config: ServeConfig,
    api_key: str | None = None,
) -> FastAPI:
    """Return the application. Its queue, thread and temporary folder exist until ``app.state.service.close()``.

    load: returns the models by name; callers who select none get the first. Its errors are raised.
    api_key: key that requests to /v1 must have, as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; None for none.
    """
    service = Service(load, config)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="detect",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    install_error_handlers(app)
    app.add_middleware(ServerMiddleware, metrics=service.metrics, timeout=config.upload_timeout)
    if config.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "Location", image_routes.FAILED_HEADER],
        )
    checks = access_checks(api_key, config.origins or (), config.hosts or ())
    app.include_router(image_routes.router, dependencies=checks)
    app.include_router(video_routes.router, dependencies=checks)
    _add_operation_routes(app, service)
    _add_pages(app)
    return app


def _add_operation_routes(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["operation"], summary="Whether the server runs", responses=schemas.STATUS_RESPONSES)
    def healthz() -> dict[str, str]:
        """Answer as long as the server runs."""
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get(
        "/readyz",
        tags=["operation"],
        summary="Whether images can be processed",
        responses=schemas.STATUS_RESPONSES | schemas.problems(503),
    )
    def readyz() -> dict[str, str]:
        """Answer 200 while images can be processed, else 503."""
        if not service.is_ready:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "the models are not running")
        return {"status": "ok"}

    @app.get(
        "/metrics",
        tags=["operation"],
        summary="Counters and durations",
        response_class=Response,
        responses=schemas.METRICS_RESPONSES,
    )
    def metrics() -> Response:
        """Counters and durations in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=MEDIA_TYPE)


def _add_pages(app: FastAPI) -> None:
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def index() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(_API_DOCS / "index.html")

    app.mount("/page", StaticFiles(directory=_PAGE))
    app.mount("/api_docs", StaticFiles(directory=_API_DOCS))
    app.mount("/swagger", StaticFiles(packages=[("fastapi_offline", "static")]))
