"""Videos: each is a job that waits its turn, goes on while its caller does not, and is forgotten after a while."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detect.errors import DetectError, DiskError
from detect.inference.writers import annotated_video
from detect.media.video_reader import VideoReader
from detect.serving.batching import Batcher, BusyError
from detect.serving.limits import Limits
from detect.serving.model_registry import Served
from detect.serving.problems import logged
from detect.structures.detections import Detections

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
_PATIENCE = 0.2  # seconds between two tries to get a frame into a queue that is full
_SPACE = 3  # times what may be sent: it, as it lay in a form, and what is made of it
_LOOK_UP = 50  # frames between two looks at the disk
_FAILURES = 1000  # failed jobs that are remembered, with their reasons


class TooManyJobsError(Exception):
    """No room for another one."""


class _StoppedError(Exception):
    """Nobody wants it any more."""


@dataclass
class Job:
    """One video. folder: holds all that is written of it, until it is forgotten.

    frames: worked on so far, of about ``total``, 0 where the file does not tell.  detail: why it failed, in words.
    reader: of the video, while it is worked on.  started: the video is there; one that was refused is no job.
    stride: every so many-th frame is looked at.  forgetting: drops it when its time is over.
    """

    served: Served
    labels: Sequence[int] | None
    threshold: float
    folder: Path
    stride: int = 1
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = WAITING
    frames: int = 0
    total: int = 0
    detail: str = ""
    reader: VideoReader | None = None
    started: bool = False
    forgetting: threading.Timer | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

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

    def stop(self) -> None:
        """Have it end soon, whatever it waits for."""
        self.stopped.set()
        if (reader := self.reader) is not None:
            reader.close()

    def tell(self, words: str) -> None:
        """Keep them for the caller, who need not know where files lie here."""
        self.detail = words.replace(f"{self.video}", "the video").replace(f"{self.folder}{os.sep}", "")


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

    def new(self, served: Served, labels: Sequence[int] | None, threshold: float, stride: int = 1) -> Job:
        """A job with a folder to put the video into; it waits for ``start``. Raises TooManyJobsError, DiskError."""
        with self._lock:
            unfinished = sum(job.state not in ENDED for job in self._jobs.values())
            if unfinished >= self._limits.jobs:
                raise TooManyJobsError
            if self._free() < _SPACE * (unfinished + 1) * self._limits.video_bytes:
                raise DiskError("there is no room for another video")
            job = Job(served, labels, threshold, Path(tempfile.mkdtemp(dir=self._folder)), stride)
            self._jobs[job.id] = job
            return job

    def start(self, job: Job) -> None:
        """Its video is there."""
        job.started = True
        self._worker.submit(self._run, job)

    def get(self, number: str) -> Job | None:
        """The one with this id; None for one that never was, or is forgotten."""
        return self._jobs.get(number)

    def drop(self, job: Job) -> None:
        """Stop it and forget it, with all of its files."""
        with self._lock:
            known = self._jobs.pop(job.id, None) is not None
            waited, ran = job.state == WAITING, job.state == RUNNING
            if waited:
                job.state = CANCELLED
        job.stop()
        if job.forgetting is not None:
            job.forgetting.cancel()
        if waited and known and job.started:
            self._ended(CANCELLED)
        if not ran:  # else whoever runs it clears away
            shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop all, and leave no file. A second time it does nothing."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        self._worker.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _free(self) -> int:
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
            if job.stopped.is_set():  # which closes the video under the reader's hands
                state = CANCELLED
            elif isinstance(error, DetectError):
                job.tell(str(error))
            else:
                number = logged(error, f"at the video of job {job.id}")
                job.detail = f"something broke here; the server's log calls it {number}"
        self._end(job, state)

    def _end(self, job: Job, state: str) -> None:
        keep = {job.result, job.detections} if state == DONE else set()
        for path in set(job.folder.iterdir()) - keep:
            path.unlink(missing_ok=True)
        with self._lock:
            job.state = state
            forgotten = job.id not in self._jobs
        self._ended(state)
        if forgotten:
            shutil.rmtree(job.folder, ignore_errors=True)
            return
        job.forgetting = threading.Timer(self._limits.keep_seconds, self.drop, [job])
        job.forgetting.daemon = True
        job.forgetting.start()
        with self._lock:
            if self._jobs.pop(job.id, None):
                self._jobs[job.id] = job  # behind those that ended before
            jobs = list(self._jobs.values())
        for some, most in ((DONE, self._limits.kept), (FAILED, _FAILURES)):
            for one in [one for one in jobs if one.state == some][:-most]:
                self.drop(one)

    def _annotate(self, job: Job) -> None:
        names = job.served.predictor.class_names
        with VideoReader(job.video, contained=True, most_pixels=self._limits.pixels) as job.reader:
            video, job.total = job.reader, job.reader.frame_count
            until, why = time.monotonic() + self._limits.job_seconds, None
            with annotated_video(video, names, job.result, stride=job.stride, save_json=True) as out:
                for frame in video:
                    if why := self._why_no_more(job, until):
                        break
                    if job.frames % _LOOK_UP == 0 and self._free() < self._limits.video_bytes:
                        raise DiskError("there is no more room on the disk")
                    out.write(frame, partial(self._found, job))
                    job.frames += 1
                if job.stopped.is_set():
                    raise _StoppedError
            job.tell(why or video.trouble or "")

    def _why_no_more(self, job: Job, until: float) -> str | None:
        """Why the rest of the video is left out, in words. until: by the clock that only grows."""
        if job.frames >= self._limits.frames:
            return f"the video has more than {self._limits.frames:,} frames; the rest was left out"
        if job.frames and time.monotonic() > until:
            return f"the video took more than {self._limits.job_seconds:g} s; the rest was left out"
        return None

    def _found(self, job: Job, image: np.ndarray) -> Detections:
        """What is on a frame, which gives way to images where the queue is full. _StoppedError after ``stop``."""
        while not job.stopped.is_set():
            with suppress(BusyError):
                (answer,) = self._batcher.submit(job.served.predictor, [image], job.threshold, 3600)
                found = answer.result()
                return found if job.labels is None else found.filter(labels=job.labels)
            time.sleep(_PATIENCE)
        raise _StoppedError
