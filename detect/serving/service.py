"""What all routes of the REST application share: models, the queue of images, video jobs, quotas and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import anyio
import numpy as np
from fastapi import Request

from detect.serving.batching import Batcher
from detect.serving.config import ServeConfig
from detect.serving.errors import ProblemError
from detect.serving.metrics import Metrics
from detect.serving.model_registry import ServedModel
from detect.serving.quota import Quota
from detect.serving.video_jobs import VideoJobs
from detect.structures.detections import Detections
from detect.text import counted

_CODEC_THREADS = 2  # images that are decoded or encoded at the same time
_DISCONNECT_INTERVAL = 0.5  # seconds between two checks whether the client is still connected


class Service:
    """State of a running server.

    load: returns the models by name; callers who select none get the first. It is called once, and its errors are
        raised.
    models: the loaded models by name.
    """

    def __init__(self, load: Callable[[], Mapping[str, ServedModel]], config: ServeConfig) -> None:
        self.config = config
        self.metrics = Metrics(lambda: len(self.batcher))
        self.batcher = Batcher(config.queue, config.batch_size, self.metrics.record_batch)
        self.models = self.batcher.run(load)
        self.jobs = VideoJobs(self.batcher, config, self.metrics.record_job)
        self.codec_threads = anyio.CapacityLimiter(_CODEC_THREADS)
        self.request_quota = Quota(2 * config.queue, "requests")
        self.byte_quota = Quota(config.memory_requests * config.max_request_bytes, "bytes")
        self.pixel_quota = Quota(config.memory_requests * config.max_pixels, "pixels")

    @property
    def is_ready(self) -> bool:
        """Whether images are being processed."""
        return not self.batcher.is_closed

    def admit(self, request: Request) -> tuple[Callable[[int], None], Callable[[int], None]]:
        """Admit a request with images, and return the functions with which it reserves memory until it is answered:
        bytes of uploaded files, and pixels of decoded images.

        Raises ProblemError 503 when too many requests are being answered. So do the functions when there is too little
        memory; see ``Quota``.
        """
        quotas = self.request_quota, self.byte_quota, self.pixel_quota
        take_request, take_bytes, take_pixels = (
            request.state.resources.enter_context(quota.reservation()) for quota in quotas
        )
        take_request(1)
        return take_bytes, take_pixels

    def check_capacity(self, num_images: int) -> None:
        """Raise ProblemError before any work is done: 413 for more images than the queue can ever hold, 503 for more
        than it can take now."""
        if num_images > self.config.queue:
            detail = f"a request may have at most {counted(self.config.queue, 'image')}, not {num_images}"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
        self.batcher.check_capacity(num_images)

    def check_tiles(self, model: ServedModel, images: Sequence[np.ndarray]) -> None:
        """Raise ProblemError 413 if ``images`` (uint8 RGB [H, W, 3]) together have too many tiles for a request."""
        limit, tiles = self.config.max_tiles, model.num_tiles((image.shape[0], image.shape[1]) for image in images)
        if tiles > limit:
            detail = f"tile={model.predictor.tile} gives {tiles} tiles; a request may have at most {limit}"
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)

    async def predict(
        self,
        model: ServedModel,
        images: Sequence[np.ndarray],
        threshold: float | None,
        labels: Sequence[int] | None,
        request: Request,
    ) -> list[Detections]:
        """Return the detections of each of ``images`` (uint8 RGB [H, W, 3]).

        threshold: minimum score for all classes, 0..1; None for those of the model.
        labels: labels of the classes to return; None for all.

        Raises ProblemError 503 when the queue is full and 400 when the client disconnects, and TimeoutError.
        """
        results = self.batcher.submit(model.predictor, images, threshold, self.config.timeout, labels)
        finished: asyncio.Future[list[Detections]] = asyncio.gather(*map(asyncio.wrap_future, results))
        # Read the exception in any case; asyncio logs exceptions that nobody has read.
        finished.add_done_callback(lambda done: done.cancelled() or done.exception())
        disconnected: asyncio.Future[None] = asyncio.ensure_future(_wait_for_disconnect(request))
        try:
            either: list[asyncio.Future[Any]] = [finished, disconnected]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if disconnected.done() and not finished.done():
                raise ProblemError(HTTPStatus.BAD_REQUEST, "the client has disconnected")
            return finished.result()
        finally:
            disconnected.cancel()
            for result in results:
                result.cancel()  # so that no image is processed in vain

    def close(self) -> None:
        """Stop the video jobs, process the images that wait, and delete all files. May be called twice."""
        self.jobs.close()
        self.batcher.close()


async def _wait_for_disconnect(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_DISCONNECT_INTERVAL)
