"""Overlapping stages of work on a stream of items, such as the frames of a video, each in a thread of its own.

    with ReadAhead(video, 4) as frames, Stage(write) as writing:
        with Stage(lambda frame: writing.put(draw(frame))) as drawing:
            for frame in frames:
                drawing.put(frame)

Few items wait between two stages. Decoding, drawing and writing release Python's lock for most of their time, so that
threads are sufficient.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_JOIN_SECONDS = 5.0  # a source that hangs in a driver or in the network ends with the process
_END: Any = object()


class ReadAhead(Generic[T]):
    """Iterates over ``items`` in a thread of its own, so that the next items are ready when they are needed.

    size: number of items that are read in advance. With 0, an item is read when it is needed.

    An exception of ``items`` is raised after the items before it. When the ``with`` block ends, no further item is
    read.
    """

    def __init__(self, items: Iterable[T], size: int) -> None:
        self._items = items
        self._free = threading.Semaphore(size)
        self._ready: SimpleQueue[T] = SimpleQueue()
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)

    def __enter__(self) -> ReadAhead[T]:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[T]:
        while (item := self._next()) is not _END:
            yield item
        self._ready.put(_END)  # an iteration after the end ends at once
        if self._error is not None:
            raise self._error

    def _next(self) -> T:
        self._free.release()
        return self._ready.get()

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._free.release()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        try:
            items = iter(self._items)
            while self._free.acquire() and not self._closed:
                self._ready.put(next(items))
        except StopIteration:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._ready.put(_END)


class Stage(Generic[T]):
    """Calls ``function`` with each item, in order, in a thread of its own.

    size: number of items that may wait; with more, ``put`` blocks.

    When the ``with`` block ends, also with an exception, the items that wait are processed first. A second exception
    meanwhile, such as KeyboardInterrupt, drops them. When the function raises an exception, the items that wait are
    dropped, and the next ``put`` or the end of the block raises it.
    """

    def __init__(self, function: Callable[[T], object], size: int = 2) -> None:
        self._function = function
        self._free = threading.Semaphore(size)
        self._waiting: SimpleQueue[T] = SimpleQueue()
        self._error: BaseException | None = None
        self._is_dropping = False
        self._thread = threading.Thread(target=self._run, name=f"stage {function}", daemon=True)

    def put(self, item: T) -> None:
        """Pass on an item. Raises the exception of an earlier one."""
        self._free.acquire()
        if self._error is not None:
            self._free.release()  # for a later put, which raises it too
            raise self._error
        self._waiting.put(item)

    def __enter__(self) -> Stage[T]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.put(_END)
        try:
            self._thread.join()
        except BaseException:
            self._is_dropping = True
            self._thread.join()
            raise
        if self._error is not None and self._error is not error:
            raise self._error

    def _run(self) -> None:
        for item in iter(self._waiting.get, _END):
            if not self._is_dropping:
                try:
                    self._function(item)
                except BaseException as error:
                    self._error, self._is_dropping = error, True
            self._free.release()
