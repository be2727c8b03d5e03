"""A bounded queue of images, and the one thread that runs the models on batches from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from detect.inference.predictor import Predictor
from detect.serving.errors import ServerBusyError
from detect.structures.detections import Detections

T = TypeVar("T")
_MAX_WAIT_SECONDS = 0.5  # until a signal is noticed
_SMOOTHING = 0.2  # weight of the newest value in the moving average of seconds per image


@dataclass(eq=False)
class _QueuedImage:
    """An image that waits for its model.

    threshold: minimum score for all classes; None for those of the model.
    labels: labels to return, None for all.
    deadline: time of the monotonic clock after which it is dropped.
    """

    predictor: Predictor
    image: np.ndarray
    threshold: float | None
    labels: Sequence[int] | None
    deadline: float
    result: Future[Detections] = field(default_factory=Future)

    def can_share_batch(self, other: _QueuedImage) -> bool:
        """Return whether both images have the same model and the same size after resizing.

        Images of unequal sizes would need padding, which changes the detections."""
        return self.predictor is other.predictor and self._resized_hw == other._resized_hw

    @property
    def lowest_threshold(self) -> float:
        """Score below which no detection is returned."""
        return self.predictor.threshold if self.threshold is None else self.threshold

    def filtered(self, detections: Detections) -> Detections:
        """Return those of the detections above ``lowest_threshold`` that are to be returned."""
        threshold = self.predictor.class_thresholds if self.threshold is None else self.threshold
        return detections.filter(threshold, self.labels)

    @property
    def _resized_hw(self) -> tuple[int, int]:
        return self.predictor.resized_hw(self.image.shape[:2])


class Batcher:
    """A first-in, first-out queue of images, and a thread that processes it in batches.

    A model uses all cores, so one thread for all models is as fast as several. No other thread should compute with
    torch, not even to load a model (see ``run``): OpenMP keeps a team of threads for each thread that computes. When
    the teams together have more threads than there are cores, they slow each other down.

    The detections of an image do not depend on the other images of its batch, up to rounding.

    max_queued: images that may wait.
    max_batch_size: images per batch.
    on_batch: called after every batch with its number of images and its seconds.
    is_closed: whether ``close`` has been called.
    """

    def __init__(
        self, max_queued: int, max_batch_size: int, on_batch: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        self.max_queued = max_queued
        self.max_batch_size = max_batch_size
        self._on_batch = on_batch
        self._queue: list[_QueuedImage] = []
        self._lock = threading.RLock()
        self.is_closed = False
        self._seconds_per_image = 1.0  # until the first measurement
        # OpenMP has its own number of threads in every thread.
        self._thread = ThreadPoolExecutor(1, "models", torch.set_num_threads, (torch.get_num_threads(),))

    def submit(
        self,
        predictor: Predictor,
        images: Sequence[np.ndarray],
        threshold: float | None,
        timeout: float,
        labels: Sequence[int] | None = None,
    ) -> list[Future[Detections]]:
        """Queue ``images`` (uint8 RGB [H, W, 3]) and return the futures of their detections, in the same order.

        threshold: minimum score for all classes, 0..1; None for those of the model.
        labels: labels of the classes to return; None for all.

        A future that is cancelled before its batch starts costs nothing. One that still waits after ``timeout``
        seconds fails with TimeoutError. Raises ServerBusyError unless all images fit, RuntimeError after ``close``.
        """
        deadline = time.monotonic() + timeout
        queued = [_QueuedImage(predictor, image, threshold, labels, deadline) for image in images]
        with self._lock:
            self._check_open()
            self.check_capacity(len(queued))
            self._queue.extend(queued)
            for _ in queued:  # at most as many batches as images
                self._thread.submit(self._process_batch)
        return [one.result for one in queued]

    def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the thread of the models and return its result, or raise its exception."""
        with self._lock:
            self._check_open()
            result = self._thread.submit(function)
        # In short waits, since a signal that arrives just before a wait without end would be handled only after it.
        while not wait([result], timeout=_MAX_WAIT_SECONDS).done:
            pass
        return result.result()

    def check_capacity(self, num_images: int) -> None:
        """Raise ServerBusyError when the queue cannot take ``num_images`` more images now."""
        with self._lock:
            waiting = sum(not one.result.cancelled() for one in self._queue)
        if (excess := waiting + num_images - self.max_queued) > 0:
            raise ServerBusyError(max(1.0, self._seconds_per_image * excess))

    def __len__(self) -> int:
        """Return the number of images that wait."""
        return len(self._queue)

    def close(self) -> None:
        """Accept no more images, and return when all waiting images have been processed. May be called twice."""
        with self._lock:
            self.is_closed = True
        self._thread.shutdown()

    def _check_open(self) -> None:
        if self.is_closed:
            raise RuntimeError("the server is shutting down: it takes no more images")

    def _process_batch(self) -> None:
        """Process the oldest image that is still wanted, and later ones that can share its batch."""
        with self._lock:
            wanted = [one for one in self._queue if _is_wanted(one)]
            batch = [one for one in wanted if one.can_share_batch(wanted[0])][: self.max_batch_size]
            self._queue = [one for one in wanted if one not in batch]
        if batch := [one for one in batch if one.result.set_running_or_notify_cancel()]:
            start = time.perf_counter()
            _predict(batch)
            seconds = time.perf_counter() - start
            self._seconds_per_image += _SMOOTHING * (seconds / len(batch) - self._seconds_per_image)
            self._on_batch(len(batch), seconds)


def _is_wanted(queued: _QueuedImage) -> bool:
    """Return whether a caller still waits for this image. One that is past its deadline fails with TimeoutError."""
    if queued.result.cancelled():
        return False
    if time.monotonic() < queued.deadline:
        return True
    if queued.result.set_running_or_notify_cancel():
        queued.result.set_exception(TimeoutError("the image waited too long in the queue"))
    return False


def _predict(batch: Sequence[_QueuedImage]) -> None:
    """Run the model and set the results. When a batch fails, each image is tried alone, so that one cannot break
    the others."""
    try:
        # NMS visits boxes in descending order of score, so a lower threshold does not change the detections above it.
        lowest = min(one.lowest_threshold for one in batch)
        found = batch[0].predictor.predict_batch([one.image for one in batch], threshold=lowest)
        results = [one.filtered(detections) for one, detections in zip(batch, found, strict=True)]
    except Exception as error:  # any error of a model on an image; the server keeps running
        if len(batch) == 1:
            batch[0].result.set_exception(error)
            return
        for one in batch:
            _predict([one])
    else:
        for one, result in zip(batch, results, strict=True):
            one.result.set_result(result)
