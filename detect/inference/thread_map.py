"""A function applied to a stream of items in several threads, in order, with few items in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def thread_map(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int, eager: bool = False
) -> Generator[R, None, None]:
    """Yield ``function(item)`` for each item, in order. ``items`` is iterated in the calling thread.

    ahead: number of results that may wait, besides the items that the threads work on.
    eager: whether a result is yielded as soon as it is ready, before further items are taken. Use it where taking an
        item is slow.

    After an exception of ``function`` or ``items`` no further item is taken. The results of the other items are
    yielded first, and then it is raised. When the iterator is closed, running calls are completed and waiting ones are
    dropped.
    """
    source, is_exhausted = iter(items), False
    waiting: deque[Future[R]] = deque()
    failure: BaseException | None = None
    with _pool(threads) as pool:
        while True:
            while (
                failure is None
                and not is_exhausted
                and len(waiting) < threads + ahead
                and not (eager and waiting and waiting[0].done())
            ):
                try:
                    waiting.append(pool.submit(function, next(source)))
                except StopIteration:
                    is_exhausted = True
                except BaseException as error:
                    failure = error
            if not waiting:
                break
            call = waiting.popleft()
            problem = call.exception()  # waits
            if problem is None:
                yield call.result()
            else:
                failure = failure or problem
            del call  # or its result would stay in memory until the next one is there
    if failure is not None:
        raise failure


@contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield an executor whose waiting calls are dropped when the block ends."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
