"""Video jobs: an uploaded video waits for its turn, is annotated in the background, and is deleted after a while."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from detect.errors import DetectError, DiskError, UsageError
from detect.inference.writers.annotated_video import frames_ahead, write_annotated_video
from detect.media.video_decoder import Frame
from detect.media.video_reader import VideoReader
from detect.serving.batching import Batcher
from detect.serving.config import ServeConfig
from detect.serving.errors import ProblemError, ServerBusyError
from detect.serving.model_registry import ServedModel
from detect.serving.problems import internal_error_detail
from detect.structures.detections import Detections
from detect.text import counted

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
_RETRY_AFTER = 10.0  # seconds after which a caller may try again to create a job
_RETRY_INTERVAL = 0.2  # seconds between two attempts to add a frame to a full queue
_DISK_FACTOR = 3  # disk space per job, in sizes of the largest video: the upload as a form, the video and the results
_DISK_INTERVAL = 50  # frames between two checks of the free disk space
_MAX_FAILED = 1000  # failed jobs whose reason is kept


class _StoppedError(Exception):
    """Raised in the thread of a job that has been stopped."""


@dataclass
class Job:
    """One video.

    model: the model that processes it.
    labels: labels to keep, None for all.
    threshold: minimum score for all classes, 0..1; None for those of the model.
    folder: folder with all files of the job.
    stride: every Nth frame is processed; the frames between repeat its detections.
    format: name in FORMATS of the output format of the detections.  mask_format: see ``Writer``.
    id: random text that identifies the job and cannot be guessed.
    state: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.
    frames: number of frames written so far.
    total: approximate number of frames, 0 when the file does not state it.
    detail: why the job failed, or why the result is shorter than the video.
    reader: the open video while the job runs.
    is_started: whether the upload is complete. A rejected upload does not count as a job.
    expiry: timer that deletes the job.
    stopped: set when the job should end early.
    """

    model: ServedModel
    labels: Sequence[int] | None
    threshold: float | None
    folder: Path
    stride: int = 1
    format: str = "json"
    mask_format: str | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = WAITING
    frames: int = 0
    total: int = 0
    detail: str = ""
    reader: VideoReader | None = None
    is_started: bool = False
    expiry: threading.Timer | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def video(self) -> Path:
        """File of the uploaded video; deleted when the job ends."""
        return self.folder / "upload"

    @property
    def result(self) -> Path:
        """File of the annotated video."""
        return self.folder / "result.mp4"

    @property
    def detections(self) -> Path:
        """File of the detections, with one line per frame in most formats."""
        return next(self.folder.glob("result*.json*"), self.folder / "result.jsonl")

    def status(self) -> dict[str, Any]:
        """Return the response of ``GET /v1/jobs/{id}``."""
        return {
            "id": self.id,
            "model": self.model.name,
            "state": self.state,
            "frames": self.frames,
            "total_frames": self.total or None,
            "detail": self.detail or None,
        }

    def stop(self) -> None:
        """Make the job end soon, whatever it waits for."""
        self.stopped.set()
        if (reader := self.reader) is not None:
            reader.close()

    def set_detail(self, text: str) -> None:
        """Set ``detail`` without the paths of the server's files."""
        self.detail = text.replace(f"{self.video}", "the video").replace(f"{self.folder}{os.sep}", "")


class VideoJobs:
    """The video jobs of a server, which run one after the other in a thread.

    Their files are in a temporary folder that ``close`` deletes.

    batcher: the queue that the frames share with other images.
    on_end: called with the final state of each job.
    """

    def __init__(self, batcher: Batcher, config: ServeConfig, on_end: Callable[[str], None] = lambda _: None) -> None:
        self._batcher = batcher
        self._config = config
        self._on_end = on_end
        self._folder = Path(tempfile.mkdtemp(prefix="detect_"))
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "videos")

    def create(
        self,
        model: ServedModel,
        labels: Sequence[int] | None,
        threshold: float | None,
        stride: int = 1,
        format: str = "json",
        mask_format: str | None = None,
    ) -> Job:
        """Return a new job with an empty folder; write the video to ``job.video`` and call ``start``.

        Raises ProblemError 503 when the maximum number of jobs waits or runs, and 507 when there is too little disk
        space.
        """
        with self._lock:
            unfinished = sum(job.state not in ENDED for job in self._jobs.values())
            if unfinished >= self._config.max_jobs:
                raise ServerBusyError(_RETRY_AFTER)
            if self._free_bytes() < _DISK_FACTOR * (unfinished + 1) * self._config.max_video_bytes:
                detail = "the disk of the server is too full for another video"
                raise ProblemError(HTTPStatus.INSUFFICIENT_STORAGE, detail)
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            job = Job(model, labels, threshold, folder, stride, format, mask_format)
            self._jobs[job.id] = job
            return job

    def start(self, job: Job) -> None:
        """Queue a job whose video has been uploaded."""
        job.is_started = True
        self._worker.submit(self._run, job)

    def get(self, job_id: str) -> Job | None:
        """Return the job with this id, or None when it never existed or has been deleted."""
        return self._jobs.get(job_id)

    def delete(self, job: Job) -> None:
        """Stop a job and delete it with all of its files."""
        with self._lock:
            is_known = self._jobs.pop(job.id, None) is not None
            was_waiting, was_running = job.state == WAITING, job.state == RUNNING
            if was_waiting:
                job.state = CANCELLED
        job.stop()
        if job.expiry is not None:
            job.expiry.cancel()
        if was_waiting and is_known and job.is_started:
            self._on_end(CANCELLED)
        if not was_running:  # the thread that runs a job deletes its files
            shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop all jobs and delete all files. May be called twice."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        self._worker.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free

    def _run(self, job: Job) -> None:
        with self._lock:
            if job.state != WAITING or job.stopped.is_set():
                return
            job.state = RUNNING
        state = FAILED
        try:
            self._annotate(job)
            state = DONE
        except Exception as error:
            if job.stopped.is_set():  # stopping closes the reader, which can raise anything
                state = CANCELLED
            elif isinstance(error, DetectError):
                job.set_detail(str(error))
            else:
                job.detail = internal_error_detail(error, f"in the video job {job.id}")
        self._end(job, state)

    def _end(self, job: Job, state: str) -> None:
        keep = {job.result, job.detections} if state == DONE else set()
        for path in set(job.folder.iterdir()) - keep:
            path.unlink(missing_ok=True)
        with self._lock:
            job.state = state
            is_deleted = job.id not in self._jobs
        self._on_end(state)
        if is_deleted:
            shutil.rmtree(job.folder, ignore_errors=True)
            return
        job.expiry = threading.Timer(self._config.keep, self.delete, [job])
        job.expiry.daemon = True
        job.expiry.start()
        with self._lock:
            if self._jobs.pop(job.id, None):
                self._jobs[job.id] = job  # the jobs are in the order in which they ended
            jobs = list(self._jobs.values())
        for limited_state, limit in ((DONE, self._config.max_results), (FAILED, _MAX_FAILED)):
            for old in [one for one in jobs if one.state == limited_state][:-limit]:
                self.delete(old)

    def _annotate(self, job: Job) -> None:
        names = job.model.predictor.class_names
        with VideoReader(job.video, contained=True, max_pixels=self._config.max_pixels) as job.reader:
            video, job.total = job.reader, job.reader.frame_count
            with frames_ahead(video) as decoded:
                frames, detect = self._frames(job, decoded), partial(self._predict, job)
                options: dict[str, Any] = {"stride": job.stride, "mask_format": job.mask_format}
                write_annotated_video(video, frames, detect, names, job.result, formats=[job.format], **options)
        if not job.detail:
            job.set_detail(video.warning or "")

    def _frames(self, job: Job, video: Iterable[Frame]) -> Iterator[Frame]:
        """Yield the frames of a video and count them; ``job.detail`` says why the remaining ones are skipped."""
        deadline = time.monotonic() + self._config.job_timeout
        for frame in video:
            if reason := self._reason_to_truncate(job, deadline):
                job.detail = reason
                break
            if job.frames % _DISK_INTERVAL == 0 and self._free_bytes() < self._config.max_video_bytes:
                raise DiskError("the disk of the server is full")
            yield frame
            job.frames += 1
        if job.stopped.is_set():
            raise _StoppedError

    def _reason_to_truncate(self, job: Job, deadline: float) -> str | None:
        """Return why the remaining frames are skipped, or None. deadline: a time of the monotonic clock."""
        if job.frames >= self._config.max_frames:
            return f"the video has more than {counted(self._config.max_frames, 'frame')}; the rest was skipped"
        if job.frames and time.monotonic() > deadline:
            return f"the video took more than {self._config.job_timeout:g} s; the rest was skipped"
        return None

    def _predict(self, job: Job, frames: Sequence[Frame]) -> list[Detections]:
        """Return the detections of each frame.

        While the queue is full the frames wait, so that images are processed first. Raises _StoppedError when the job
        has been stopped, and UsageError for a frame with too many tiles.
        """
        images = [frame.image for frame in frames]
        limit, tiles = self._config.max_tiles, max(job.model.num_tiles([frame.hw]) for frame in frames)
        if tiles > limit:
            text = f"tile={job.model.predictor.tile} gives {tiles} tiles; a frame may have at most {limit}"
            raise UsageError(text)
        while not job.stopped.is_set():
            with suppress(ServerBusyError):
                found = self._batcher.submit(job.model.predictor, images, job.threshold, 3600, job.labels)
                return [one.result() for one in found]
            time.sleep(_RETRY_INTERVAL)
        raise _StoppedError
