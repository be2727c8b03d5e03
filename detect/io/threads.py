"""A function applied to many small files in several threads, which mostly wait for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_CHUNK = 64  # items per call of a thread: passing each item on by itself takes longer than reading a small file


def map_in_threads(function: Callable[[T], R], items: Sequence[T], threads: int) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order."""
    chunks = (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
    with ThreadPoolExecutor(threads) as pool:
        for results in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            yield from results
