"""The routes of videos, which are jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from detect.errors import DiskError
from detect.serving import model_registry, schemas, uploads
from detect.serving.image_routes import CLASSES, labels_of, service_of
from detect.serving.problems import ProblemError
from detect.serving.service import busy
from detect.serving.video_jobs import DONE, Job, TooManyJobsError

router = APIRouter(prefix="/v1", tags=["videos"])
_AGAIN = 10.0  # seconds until a caller may ask for room once more

JobId = Annotated[str, Path(alias="id", description="as the answer to the video told", max_length=64)]


@router.post(
    "/detect/video",
    status_code=202,
    response_model=schemas.Job,
    responses=schemas.problems(400, 401, 403, 404, 408, 413, 415, 422, 503, 507),
    openapi_extra=schemas.VIDEO,
)
async def detect_video(
    request: Request,
    model: Annotated[str | None, Query(description="one of /v1/models; by default the first")] = None,
    threshold: Annotated[float | None, Query(ge=0, le=1, description="leave out what scores less")] = None,
    classes: Annotated[list[str] | None, Query(description=CLASSES)] = None,
    stride: Annotated[int, Query(ge=1, le=1000, description="look at every so many-th frame, to be faster")] = 1,
) -> JSONResponse:
    """Find objects in a video: the form's field `video`, or the body. The answer tells the address of the job, which
    is `waiting`, then `running`, then `done`, `failed` or `cancelled`."""
    service = service_of(request)
    served = model_registry.chosen(service.served, model)
    labels = labels_of(served, classes)
    least = served.predictor.threshold if threshold is None else threshold
    try:
        job = await run_sync(service.jobs.new, served, labels, least, stride)
    except TooManyJobsError:
        raise busy(_AGAIN) from None
    except DiskError as error:
        raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, str(error)) from None
    try:
        await uploads.video_of(request, service.limits, job.video)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await run_sync(service.jobs.drop, job)
        raise
    facts = job.facts()
    service.jobs.start(job)
    return JSONResponse(facts, HTTPStatus.ACCEPTED, {"Location": f"../jobs/{job.id}"})  # whatever path we are under


@router.get("/jobs/{id}", response_model=schemas.Job, responses=schemas.problems(401, 403, 404, 422))
def job_state(request: Request, number: JobId) -> dict[str, Any]:
    """How far it is."""
    return _job(request, number).facts()


@router.get("/jobs/{id}/result", response_class=FileResponse, responses=schemas.RESULT)
def job_result(request: Request, number: JobId) -> FileResponse:
    """The annotated video."""
    return _Whole(_done(request, number).result, media_type="video/mp4", filename="result.mp4")


@router.get("/jobs/{id}/detections", response_class=FileResponse, responses=schemas.LINES)
def job_detections(request: Request, number: JobId) -> FileResponse:
    """A line of JSON for each frame."""
    return _Whole(_done(request, number).detections, media_type="application/jsonl", filename="result.jsonl")


@router.delete("/jobs/{id}", status_code=204, responses=schemas.problems(401, 403, 404, 422))
async def cancel_job(request: Request, number: JobId) -> Response:
    """Stop it, and delete what it has made."""
    job = _job(request, number)
    await run_sync(service_of(request).jobs.drop, job)
    return Response(status_code=HTTPStatus.NO_CONTENT)


class _Whole(FileResponse):
    """A file without parts of it, whose errors would be no problem documents; gone when its job is dropped."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers["Accept-Ranges"] = "none"
        asked = [(name, value) for name, value in scope["headers"] if name not in (b"range", b"if-range")]
        try:
            await super().__call__({**scope, "headers": asked}, receive, send)
        except RuntimeError:  # before the answer has begun
            raise _forgotten() from None


def _forgotten() -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, "there is no such job, or it is long done and forgotten")


def _job(request: Request, number: str) -> Job:
    if (job := service_of(request).jobs.get(number)) is None:
        raise _forgotten()
    return job


def _done(request: Request, number: str) -> Job:
    job = _job(request, number)
    if job.state != DONE:
        raise ProblemError(HTTPStatus.CONFLICT, f"the job is {job.state}" + (f": {job.detail}" if job.detail else ""))
    return job
