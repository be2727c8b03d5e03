"""The routes for videos, which are processed as jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from detect.serving import schemas, uploads
from detect.serving.errors import ProblemError
from detect.serving.image_routes import (
    ClassesQuery,
    MaskFormatQuery,
    ModelQuery,
    NmsQuery,
    ThresholdQuery,
    TileQuery,
    labels_of,
    service_of,
    with_settings,
)
from detect.serving.model_registry import select_model
from detect.serving.video_jobs import DONE, Job

router = APIRouter(prefix="/v1", tags=["videos"])

JobId = Annotated[str, Path(alias="id", description="id from the response to the upload", max_length=64)]


@router.post(
    "/detect/video",
    summary="Detect objects in a video",
    status_code=202,
    response_model=schemas.Job,
    responses=schemas.problems(400, 401, 403, 404, 408, 413, 415, 422, 503, 507),
    openapi_extra=schemas.VIDEO_BODY,
)
async def detect_video(
    request: Request,
    model: ModelQuery = None,
    threshold: ThresholdQuery = None,
    classes: ClassesQuery = None,
    nms: NmsQuery = None,
    tile: TileQuery = None,
    stride: Annotated[
        int,
        Query(ge=1, le=1000, description="process every Nth frame; the frames between repeat its detections"),
    ] = 1,
    format: Annotated[
        Literal["json", "coco", "huggingface", "roboflow"],
        Query(description="format of the detections: `json`, or what other tools read"),
    ] = "json",
    mask_format: MaskFormatQuery = None,
) -> JSONResponse:
    """Detect objects in a video: the form field `video`, or the body. The response describes the job, and its
    `Location` header is the job's URL. The state of a job is first `waiting`, then `running`, and at the end `done`,
    `failed` or `cancelled`."""
    service = service_of(request)
    served = select_model(service.models, model)
    labels = labels_of(service.models, served, classes)
    served = with_settings(served, nms, tile)
    job = await run_sync(service.jobs.create, served, labels, threshold, stride, format, mask_format)
    try:
        await uploads.receive_video(request, service.config, job.video)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(service.jobs.delete, job)
        raise
    status = job.status()
    service.jobs.start(job)
    # Relative, since a web server in front may serve the application under a path.
    return JSONResponse(status, HTTPStatus.ACCEPTED, {"Location": f"../jobs/{job.id}"})


@router.get(
    "/jobs/{id}",
    summary="State of a video",
    response_model=schemas.Job,
    responses=schemas.problems(401, 403, 404, 422),
)
def job_status(request: Request, job_id: JobId) -> dict[str, Any]:
    """Return the state and progress of a job."""
    return _job(request, job_id).status()


@router.get(
    "/jobs/{id}/result", summary="Annotated video", response_class=FileResponse, responses=schemas.VIDEO_RESPONSES
)
def job_result(request: Request, job_id: JobId) -> FileResponse:
    """Return the annotated video."""
    return _WholeFile(_finished_job(request, job_id).result, media_type="video/mp4", filename="result.mp4")


@router.get(
    "/jobs/{id}/detections",
    summary="Detections in the frames of a video",
    response_class=FileResponse,
    responses=schemas.JSONL_RESPONSES,
)
def job_detections(request: Request, job_id: JobId) -> FileResponse:
    """Return the detections as JSON Lines, one line per frame; those of a video with `format=coco` as a JSON list."""
    job = _finished_job(request, job_id)
    path = job.detections
    return _WholeFile(path, media_type=f"application/{path.suffix[1:]}", filename=path.name)


@router.delete(
    "/jobs/{id}", summary="Stop and delete a video", status_code=204, responses=schemas.problems(401, 403, 404, 422)
)
async def delete_job(request: Request, job_id: JobId) -> Response:
    """Stop a job and delete its files."""
    job = _job(request, job_id)
    await run_sync(service_of(request).jobs.delete, job)
    return Response(status_code=HTTPStatus.NO_CONTENT)


class _WholeFile(FileResponse):
    """A file response that ignores Range headers, since the framework's errors for them are not problem documents.

    It is ProblemError 404 when the file has been deleted in the meantime.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Accept-Ranges"] = "none"
        headers = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        try:
            await super().__call__({**scope, "headers": headers}, receive, send)
        except RuntimeError:  # raised before the response starts when the file does not exist
            raise _unknown_job() from None


def _unknown_job() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "no such job; finished jobs are deleted after a while")


def _job(request: Request, job_id: str) -> Job:
    if (job := service_of(request).jobs.get(job_id)) is None:
        raise _unknown_job()
    return job


def _finished_job(request: Request, job_id: str) -> Job:
    job = _job(request, job_id)
    if job.state != DONE:
        raise ProblemError(HTTPStatus.CONFLICT, f"the job is {job.state}" + (f": {job.detail}" if job.detail else ""))
    return job
