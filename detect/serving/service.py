"""What the routes of the REST application share: models, one queue, videos, counters."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import anyio
import numpy as np
from fastapi import Request

from detect.serving.batching import Batcher, BusyError
from detect.serving.limits import Limits
from detect.serving.metrics import Measures
from detect.serving.model_registry import Served
from detect.serving.problems import ProblemError
from detect.serving.quota import Room
from detect.serving.video_jobs import Jobs
from detect.structures.detections import Detections

_DECODERS = 2  # images that are unpacked, or drawn and packed, at once
_LOOK_UP = 0.5  # seconds between two looks whether the caller is still there


@dataclass(frozen=True)
class Shares:
    """Functions with which a request takes so much more of what is there for all."""

    bytes_: Callable[[int], None]
    pixels: Callable[[int], None]


class Service:
    """load: brings the models by name, the first of them for callers who name none; called once, and what it raises
    is raised."""

    def __init__(self, load: Callable[[], Mapping[str, Served]], limits: Limits) -> None:
        self.limits = limits
        self.measures = Measures(lambda: len(self.batcher))
        self.batcher = Batcher(limits.waiting, limits.together, self.measures.batch)
        self.served = self.batcher.call(load)
        self.jobs = Jobs(self.batcher, limits, lambda state: self.measures.jobs.labels(state).inc())
        self.threads = anyio.CapacityLimiter(_DECODERS)
        self._requests = Room(2 * limits.waiting)
        self._bytes = Room(limits.at_once * limits.bytes_)
        self._pixels = Room(limits.at_once * limits.pixels)

    @property
    def is_ready(self) -> bool:
        """Whether an image would be looked at."""
        return self.batcher.is_alive

    def admit(self, request: Request) -> Shares:
        """Let in a request with images, whose bytes and pixels take memory until it is answered. FullError where
        others have it all."""
        stack = request.state.shares
        stack.enter_context(self._requests.shared())(1)
        return Shares(*(stack.enter_context(room.shared()) for room in (self._bytes, self._pixels)))

    def check_room(self, images: int) -> None:
        """ProblemError, before anything is done for so many more images: 503 where they find no room in the queue
        now, 413 where they never will."""
        if images > self.limits.waiting:
            words = f"a request may have {self.limits.waiting} images"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
        try:
            self.batcher.check_room(images)
        except BusyError as error:
            raise busy(error.seconds) from None

    async def look(
        self, model: Served, images: Sequence[np.ndarray], threshold: float, request: Request
    ) -> list[Detections]:
        """What is found in each of ``images``. ProblemError 503 where the queue is full; TimeoutError."""
        try:
            answers = self.batcher.submit(model.predictor, images, threshold, self.limits.answer_seconds)
        except BusyError as error:
            raise busy(error.seconds) from None
        all_of_them: asyncio.Future[list[Detections]] = asyncio.gather(*map(asyncio.wrap_future, answers))
        # Else asyncio logs what nobody reads.
        all_of_them.add_done_callback(lambda done: done.cancelled() or done.exception())
        hung_up: asyncio.Future[None] = asyncio.ensure_future(_hung_up(request))
        try:
            either: list[asyncio.Future[Any]] = [all_of_them, hung_up]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if hung_up.done() and not all_of_them.done():
                raise ProblemError(HTTPStatus.BAD_REQUEST, "the caller has hung up")
            return all_of_them.result()
        finally:
            hung_up.cancel()
            for answer in answers:
                answer.cancel()  # so that nobody looks at what nobody waits for

    def close(self) -> None:
        """Answer what waits, stop the videos, and leave no file. A second time it does nothing."""
        self.jobs.close()
        self.batcher.close()


def busy(seconds: float) -> ProblemError:
    """For a caller who finds too much to do, and may come again after so many seconds."""
    wait = {"Retry-After": str(math.ceil(seconds))}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "there is too much to do; try again later", wait)


async def _hung_up(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_UP)
