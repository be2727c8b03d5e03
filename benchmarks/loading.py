"""Measurement of one annotation reader. Only its own imports are loaded, so that the memory is that of the reader."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detect.training.logging.progress import peak_memory_bytes

WORKERS = 4  # the default number of loader processes on a machine with 8 or more cores

Walk = Callable[[], int]
"""Reads every number of every box and mask, as training does, and returns the number of annotations."""


@dataclass
class Load:
    """Cost of reading the file once.

    seconds: wall-clock time, and cpu_seconds: time of all threads, both after all imports.
    base_bytes, peak_bytes: peak memory of the process before and after reading; None where not measured.
    alone_bytes: proportional set size of the process after reading; workers_bytes: the same together with WORKERS
        forked processes that have read every record; None where not measured (other systems than Linux).
    objects: number of annotations that were read.  faults: number of annotations or images skipped or found invalid.
    """

    seconds: float
    cpu_seconds: float
    base_bytes: int | None
    peak_bytes: int | None
    alone_bytes: int | None
    workers_bytes: int | None
    objects: int
    faults: int


def measure(name: str, path: Path) -> Load:
    """Read ``path`` with the reader ``name`` of READERS in this process, which should be a new one.

    Raises BrokenProcessPool when a forked process is killed.
    """
    read = READERS[name]()
    base = peak_memory_bytes()
    clock, cpu = time.perf_counter(), time.process_time()
    walk, faults = read(path)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak, alone = peak_memory_bytes(), proportional_set_size(os.getpid())
    together = None if alone is None else with_workers(walk, WORKERS)
    return Load(seconds, cpu_seconds, base, peak, alone, together, walk(), faults)


def proportional_set_size(process: int) -> int | None:
    """Return the proportional set size of a process in bytes; None where the system is not Linux.

    A memory page that n processes share counts as 1/n of a page.
    """
    path = Path(f"/proc/{process}/smaps_rollup")  # since Linux 4.14
    match = re.search(r"^Pss: +(\d+) kB", path.read_text(), re.MULTILINE) if path.is_file() else None
    return 1024 * int(match[1]) if match else None


def with_workers(walk: Walk, count: int) -> int:
    """Return the summed proportional set size, in bytes, of this process and ``count`` forked ones (Linux only).

    Each forked process has read every record before it is measured.
    """
    fork = multiprocessing.get_context("fork")
    all_done = fork.Barrier(count)

    def read_all() -> None:
        walk()
        all_done.wait()

    with ProcessPoolExecutor(count, fork, initializer=read_all) as pool:
        pool.submit(os.getpid).result()  # the pool forks all its processes first, and no task runs until all have read
        processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children() if worker.pid)]
        return sum(proportional_set_size(process) or 0 for process in processes)


def _pycocotools() -> Callable[[Path], tuple[Walk, int]]:
    from pycocotools.coco import COCO

    def walk(coco: COCO) -> int:
        for annotation in coco.anns.values():
            mask = annotation["segmentation"]
            for numbers in mask if isinstance(mask, list) else [mask["counts"]]:
                sum(numbers)
            sum(annotation["bbox"])
        return len(coco.anns)

    def read(path: Path) -> tuple[Walk, int]:
        with redirect_stdout(io.StringIO()):  # it prints its progress
            return partial(walk, COCO(path)), 0

    return read


def _ours(checked: bool) -> Callable[[Path], tuple[Walk, int]]:
    import numpy as np

    from detect.data.readers.coco import parse
    from detect.data.table import Table
    from detect.data.validation.annotations import check_objects

    def walk(table: Table) -> int:
        for record in table:
            mask: Any
            for mask in record.masks or ():
                for numbers in mask if isinstance(mask, list) else [np.frombuffer(mask["counts"], np.uint8)]:
                    numbers.sum()
            record.boxes.sum()
        return len(table.boxes)

    def read(path: Path) -> tuple[Walk, int]:
        split = parse(path.parent, path)
        found = check_objects(split.table) if checked else ()
        return partial(walk, split.table), len(split.skipped) + sum(len(one.rows) for one in found)

    return read


READERS: dict[str, Callable[[], Callable[[Path], tuple[Walk, int]]]] = {
    "pycocotools": _pycocotools,
    "read": partial(_ours, checked=False),
    "checked": partial(_ours, checked=True),
}
"""Reader -> function that imports what the reader needs and returns the function that reads a file."""
