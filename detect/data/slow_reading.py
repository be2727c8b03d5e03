"""A warning that names images whose reading takes long, as on a network folder that is gone."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from detect.progress import warn
from detect.text import first_few

SLOW_SECONDS = 60.0  # for one result, before a warning

T = TypeVar("T")


def name_slow(results: Iterable[T], paths_of: Callable[[int], Sequence[str]]) -> Iterator[T]:
    """Yield ``results``; if the next one takes more than SLOW_SECONDS, a warning names its images.

    paths_of: returns the paths of the images that result i is read from.

    The time in which the caller uses a result does not count.
    """
    number, since = 0, time.monotonic()
    done, is_waiting = threading.Event(), True

    def watch() -> None:
        named = -1
        while not done.wait(min(1.0, SLOW_SECONDS / 4)):
            if is_waiting and number != named and time.monotonic() - since > SLOW_SECONDS:
                named = number
                _warn_of_slow(paths_of(named))

    threading.Thread(target=watch, daemon=True).start()
    try:
        for result in results:
            is_waiting = False
            yield result
            number, since, is_waiting = number + 1, time.monotonic(), True
    finally:
        done.set()


def _warn_of_slow(paths: Sequence[str]) -> None:
    text = f"reading images takes more than {SLOW_SECONDS:.0f} s: {first_few(paths, 3)}"
    rank = os.environ.get("RANK", "0")  # of ``detect.distributed``, which would import torch
    if rank == "0":
        warn(text)
    else:  # whose stderr is hidden, since warnings usually concern all processes
        print(f"warning: process {rank}: {text}", file=sys.__stderr__, flush=True)
