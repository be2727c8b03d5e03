"""Reading batches of images by worker processes: names what is slow or stuck, and explains a worker that died."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from detect.data.slow_reading import name_slow
from detect.errors import DataError, DetectError
from detect.runtime import worker_init
from detect.text import first_few

STUCK_SECONDS = 300.0  # for one batch, before worker processes are given up

_loaders: weakref.WeakSet[DataLoader] = weakref.WeakSet()

PathsOfBatch = Callable[[int], Sequence[str]]
"""Returns the paths of the images of batch i, in the order in which the batches are read."""


def data_loader(
    dataset: Dataset,
    batches: list[list[Any]],
    workers: int,
    collate: Callable,
    *,
    pinned: bool = False,
    ahead: int = 2,
) -> DataLoader:
    """Return a DataLoader of ``batches``, lists of the dataset's keys; it reads the list again for each iteration.

    workers: worker processes, which are started once and read ``ahead`` batches each in advance; 0 reads in this
        process.
    pinned: whether batches are put into pinned memory, from which they are copied to a GPU while it computes.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=collate,
        worker_init_fn=worker_init,
        pin_memory=pinned,
        prefetch_factor=ahead if workers else None,
        timeout=STUCK_SECONDS if workers else 0,
    )
    _loaders.add(loader)
    return loader


def read_batches(loader: DataLoader, paths_of: PathsOfBatch) -> Iterator[Any]:
    """Yield the batches of ``loader``.

    If a batch takes long, as on a network folder that is gone, a warning names its images. Raises DataError if it
    takes STUCK_SECONDS, which is noticed with worker processes only.
    """
    batches = name_slow(loader, paths_of)
    for number in count():
        try:
            batch = next(batches)
        except StopIteration:
            return
        except Exception as error:
            _end_workers(loader)
            if isinstance(error, DetectError):
                raise type(error)(_original_message(error)) from None
            if str(error).startswith("DataLoader timed out"):
                raise DataError(
                    f"no image could be read for {STUCK_SECONDS:.0f} s; the next ones are"
                    f" {first_few(paths_of(number), 3)}: is their disk or network folder gone?"
                ) from None
            raise
        yield batch


@atexit.register
def _end_all_workers() -> None:
    """End the worker processes of all loaders at the end of Python.

    They ignore SIGTERM, by which multiprocessing would end them; it would then wait for them without limit, since the
    traceback of an error that ended the program keeps the loader.
    """
    for loader in [*_loaders]:
        _end_workers(loader)


def _end_workers(loader: DataLoader) -> None:
    iterator, loader._iterator = loader._iterator, None
    if isinstance(iterator, _MultiProcessingDataLoaderIter):  # torch 2.6 to 2.14
        if iterator._worker_pids_set:
            signal_handling._remove_worker_pids(id(iterator))  # their end is no error
            iterator._worker_pids_set = False
        for worker in iterator._workers:
            worker.kill()
        iterator._shutdown_workers()


def _original_message(error: DetectError) -> str:
    """Return the message as it was raised: torch wraps an error of a worker process in the text of its traceback."""
    if not str(error).startswith("Caught "):
        return str(error)
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


def dead_worker(error: RuntimeError) -> str:
    """Return what to do about a worker process that died; "" for another error.

    torch raises such an error wherever the main process is at that moment.
    """
    if not str(error).startswith("DataLoader worker (pid"):
        return ""
    return (
        "a process that reads images died, as happens when the system ends it because memory runs out; fewer `workers`"
        " need less memory"
    )
