"""A function applied to many small files, in several threads if it mostly waits for the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = (
    64  # at most, items per call of a thread: passing each item on by itself takes longer than reading a small file
)
# As long as this many items take less than this time, their files are in memory; threads, which take turns in running
# Python, would make that slower.
_WINDOW, _WINDOW_SECONDS = 1024, 0.12


def map_in_threads(function: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order; in ``threads`` threads once items turn out to be slow."""
    position, begin = 0, time.perf_counter()
    while position < len(items) and time.perf_counter() - begin < _WINDOW_SECONDS:
        yield function(items[position])
        position += 1
        if position % _WINDOW == 0:
            begin = time.perf_counter()
    if position < len(items):
        size = max(1, min(_CHUNK, (len(items) - position) // (4 * threads)))
        chunks = (items[start : start + size] for start in range(position, len(items), size))
        with ThreadPoolExecutor(threads) as pool:
            for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
                yield from results
