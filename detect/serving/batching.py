"""Images wait in one bounded queue for one thread, in which models look at those of equal size together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from detect.inference.predictor import Predictor
from detect.structures.detections import Detections

T = TypeVar("T")
_SHARE = 0.2  # of the newest measurement in the running mean of seconds an image


class BusyError(Exception):
    """More images wait than may. seconds: after so many there should be room."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the queue is full; try again in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(eq=False)
class _Waiting:
    """An image that waits. until: by the clock that only grows, after that nobody wants the answer."""

    predictor: Predictor
    image: np.ndarray
    threshold: float
    until: float
    answer: Future[Detections] = field(default_factory=Future)

    def fits(self, other: _Waiting) -> bool:
        """Whether both can be looked at together: padding would change what is found."""
        return self.predictor is other.predictor and self.size == other.size

    @property
    def size(self) -> tuple[int, int]:
        return self.predictor.model.transform.resized_hw(self.image.shape[:2])


class Batcher:
    """The queue, and the thread that works it off from first to last.

    A model's arithmetic is shared by all cores already, so that one thread for all models is as fast as several. No
    other thread should compute with torch, not even to load a model (see ``call``): OpenMP keeps a team of threads
    for each that does, and where all teams are more than the cores, their members sleep when they should wait, which
    makes every image slower. What is found in an image does not depend on those it shares a batch with, up to
    rounding.

    most_waiting: images that are let in.  most_together: images in a batch.
    seen: called after every batch with how many images it had and its seconds.
    """

    def __init__(
        self, most_waiting: int, most_together: int, seen: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        self.most_waiting = most_waiting
        self.most_together = most_together
        self._seen = seen
        self._waiting: deque[_Waiting] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._threads = torch.get_num_threads()  # which OpenMP counts for each thread anew
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds = 1.0  # an image, before any was measured
        self._thread = threading.Thread(target=self._work, name="models", daemon=True)
        self._thread.start()

    def submit(
        self, predictor: Predictor, images: Sequence[np.ndarray], threshold: float, timeout: float
    ) -> list[Future[Detections]]:
        """Have every one of ``images`` looked at, at the latest ``timeout`` seconds from now: their detections to be.

        A future that is cancelled in time costs nothing; one whose time is over has a TimeoutError. Raises BusyError
        where not all of them find room, and RuntimeError after ``close``.
        """
        until = time.monotonic() + timeout
        tasks = [_Waiting(predictor, image, threshold, until) for image in images]
        with self._changed:
            if self._stopping or not self.is_alive:
                raise RuntimeError("the queue is closed")
            self.check_room(len(tasks))
            self._waiting.extend(tasks)
            self._changed.notify()
        return [task.answer for task in tasks]

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns, or raises, after its turn in the thread of the models."""
        answer: Future[T] = Future()
        with self._changed:
            if self._stopping:
                raise RuntimeError("the queue is closed")
            self._calls.append((work, answer))
            self._changed.notify()
        return answer.result()

    def check_room(self, count: int) -> None:
        """Raises BusyError where ``count`` more images find no room now."""
        with self._changed:
            waiting = sum(not task.answer.cancelled() for task in self._waiting)
        if (over := waiting + count - self.most_waiting) > 0:
            raise BusyError(max(1.0, self._seconds * over))

    def __len__(self) -> int:
        """So many images wait."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether there is someone to work."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Let no more in, and return when all that wait are answered."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        torch.set_num_threads(self._threads)
        while work := self._next():
            work()

    def _next(self) -> Callable[[], None] | None:
        """What is to be done: a call, else the first image that is still wanted, and those behind it that fit; None
        after the last of a closed queue."""
        with self._changed:
            while True:
                if self._calls:
                    return partial(_answer, *self._calls.popleft())
                wanted = [task for task in self._waiting if _is_wanted(task)]
                batch = [task for task in wanted if task.fits(wanted[0])][: self.most_together]
                self._waiting = deque(task for task in wanted if task not in batch)
                if batch := [task for task in batch if task.answer.set_running_or_notify_cancel()]:
                    return partial(self._look, batch)
                if self._stopping and not self._waiting:
                    return None
                if not self._waiting:
                    self._changed.wait()

    def _look(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        _look(batch)
        seconds = time.perf_counter() - began
        self._seconds += _SHARE * (seconds / len(batch) - self._seconds)
        self._seen(len(batch), seconds)


def _answer(work: Callable[[], Any], answer: Future[Any]) -> None:
    try:
        answer.set_result(work())
    except BaseException as error:
        answer.set_exception(error)


def _is_wanted(task: _Waiting) -> bool:
    """Whether anyone still waits for it; one whose time is over is told."""
    if task.answer.cancelled():
        return False
    if time.monotonic() < task.until:
        return True
    if task.answer.set_running_or_notify_cancel():
        task.answer.set_exception(TimeoutError("it waited too long"))
    return False


def _look(batch: Sequence[_Waiting]) -> None:
    """Answer each. What fails together is tried alone, since an image must not spoil the others'."""
    try:
        # What scores more is the same, whatever else is looked for: suppression goes from the best on.
        lowest = min(task.threshold for task in batch)
        found = batch[0].predictor([task.image for task in batch], threshold=lowest)
        results = [one.filter(task.threshold) for task, one in zip(batch, found, strict=True)]
    except Exception as error:  # of a model on an image, and the server goes on
        if len(batch) == 1:
            batch[0].answer.set_exception(error)
            return
        for task in batch:
            _look([task])
    else:
        for task, result in zip(batch, results, strict=True):
            task.answer.set_result(result)
