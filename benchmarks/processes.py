"""Measurements in processes of their own, so that time and memory are those of the measurement alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from detect import progress
from detect.errors import UsageError

T = TypeVar("T")


def in_new_process(function: Callable[..., T], *arguments: Any, task: str, lower: str) -> T:
    """Return ``function(*arguments)``, called in a new process. Raises what ``new_process`` raises."""
    with new_process(task, lower) as call:
        return call(function, *arguments)


@contextmanager
def new_process(task: str, lower: str) -> Iterator[Callable[..., Any]]:
    """Start a process, and yield a function that calls the function it is given in that process.

    The calls share the global variables of the process, which ends with the block.
    Raises UsageError when the process is killed or has not enough memory; it names the ``task`` and the setting to
    ``lower``. Other exceptions of the functions are raised here.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=_start) as pool:
        try:
            yield lambda function, *arguments: pool.submit(function, *arguments).result()
        except (BrokenProcessPool, MemoryError):
            raise UsageError(f"{task} needs more memory than there is; lower `{lower}`") from None
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():  # otherwise the block waits for the measurement
                process.terminate()
            raise


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent process reports the stop
    progress.hide_bars(True)
