"""Videos: each is a job that waits its turn, goes on while its caller does not, and is forgotten after a while."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detect.errors import DetectError, MediaError
from detect.media.decoder import Frame
from detect.media.video import VideoReader
from detect.serve.batching import Batcher, BusyError
from detect.serve.limits import Limits
from detect.serve.models import Served
from detect.types import Detections
from detect.writers import annotated_video

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
_PATIENCE = 0.2  # seconds between two tries to get a frame into a queue that is full


class TooManyJobsError(Exception):
    """No room for another one, or on the disk."""


@dataclass
class Job:
    """One video. folder: holds all that is written of it, until it is forgotten.

    frames: worked on so far, of about ``total``, 0 where the file does not tell.  detail: why it failed, in words.
    """

    served: Served
    labels: Sequence[int] | None
    threshold: float
    folder: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = WAITING
    frames: int = 0
    total: int = 0
    detail: str = ""
    ended: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def video(self) -> Path:
        """What was sent; gone when the job has ended."""
        return self.folder / "sent"

    @property
    def result(self) -> Path:
        """The annotated video."""
        return self.folder / "result.mp4"

    @property
    def detections(self) -> Path:
        """A line of JSON for each frame."""
        return self.folder / "result.jsonl"

    def facts(self) -> dict[str, Any]:
        """What its caller may know."""
        facts: dict[str, Any] = {"id": self.id, "model": self.served.name, "state": self.state, "frames": self.frames}
        return facts | {"total_frames": self.total or None, "detail": self.detail or None}


class Jobs:
    """All of them, worked off one after the other. Their files lie in a folder that goes when this is closed.

    ended: called with the state of each job that has ended.
    """

    def __init__(self, batcher: Batcher, limits: Limits, ended: Callable[[str], None] = lambda _: None) -> None:
        self._batcher = batcher
        self._limits = limits
        self._ended = ended
        self._folder = Path(tempfile.mkdtemp(prefix="detect_"))
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, "videos")

    def new(self, served: Served, labels: Sequence[int] | None, threshold: float) -> Job:
        """A job with a folder to put the video into; it waits for ``start``. Raises TooManyJobsError."""
        with self._lock:
            self._forget_old()
            unfinished = sum(job.state not in ENDED for job in self._jobs.values())
            # What is sent and what is made of it must fit beside the results that are kept.
            free = shutil.disk_usage(self._folder).free
            if unfinished >= self._limits.jobs or free < 2 * self._limits.video_bytes:
                raise TooManyJobsError
            job = Job(served, labels, threshold, Path(tempfile.mkdtemp(dir=self._folder)))
            self._jobs[job.id] = job
            return job

    def start(self, job: Job) -> None:
        """Its video is there."""
        self._worker.submit(self._run, job)

    def get(self, number: str) -> Job | None:
        """The one with this id; None for one that never was, or is forgotten."""
        with self._lock:
            self._forget_old()
            return self._jobs.get(number)

    def drop(self, job: Job) -> None:
        """Stop it and forget it, with all of its files."""
        job.stop.set()
        with self._lock:
            self._jobs.pop(job.id, None)
            if job.state != RUNNING:  # else whoever runs it clears away
                job.state = CANCELLED
                shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop all, and leave no file."""
        with self._lock:
            for job in self._jobs.values():
                job.stop.set()
        self._worker.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.ended is not None and now - job.ended > self._limits.keep_seconds:
                del self._jobs[job.id]
                shutil.rmtree(job.folder, ignore_errors=True)

    def _run(self, job: Job) -> None:
        with self._lock:
            if job.state != WAITING or job.stop.is_set():
                return
            job.state = RUNNING
        state = FAILED
        try:
            state = DONE if self._annotate(job) else CANCELLED
        except DetectError as error:
            job.detail = str(error).replace(str(job.video), "the video")
        except Exception:
            job.detail = "something broke here"
            raise
        finally:
            job.video.unlink(missing_ok=True)
            with self._lock:
                job.state, job.ended = state, time.monotonic()
                if job.id not in self._jobs:
                    shutil.rmtree(job.folder, ignore_errors=True)
            self._ended(state)

    def _annotate(self, job: Job) -> bool:
        """Whether it came to the end of the video."""
        names = job.served.predictor.class_names
        with VideoReader(job.video, contained=True) as video:
            height, width = video.size_hw
            if height * width > self._limits.pixels:
                raise MediaError(f"its frames have {width}x{height} pixels, more than {self._limits.pixels:,}")
            job.total = video.frame_count
            with annotated_video(video, names, job.result, save_json=True) as out:
                for frame in video:
                    if job.frames >= self._limits.frames:
                        raise MediaError(f"the video has more than {self._limits.frames:,} frames")
                    if (found := self._found(job, frame)) is None:
                        return False
                    out.write(frame, found)
                    job.frames += 1
            job.detail = video.trouble or ""
        return True

    def _found(self, job: Job, frame: Frame) -> Detections | None:
        """What is on a frame, which gives way to pictures where the queue is full; None where the job is stopped."""
        while not job.stop.is_set():
            with suppress(BusyError):
                (answer,) = self._batcher.submit(job.served.predictor, [frame.image], job.threshold, 3600)
                found = answer.result()
                return found if job.labels is None else found.filter(labels=job.labels)
            time.sleep(_PATIENCE)
        return None
