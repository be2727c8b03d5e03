"""One reader loads one file, measured in a process of its own: ``python -m benchmarks.loading NAME FILE``.

Prints a Load as JSON. The process imports what its reader needs and nothing else, so that its memory is the reader's.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detect import progress

WORKERS = 4  # as many as loader processes are by default on a machine of 8 cores and more
NO_MEMORY = 12  # exit status
_PSS = "smaps_rollup"  # of Linux from 4.14 on

Walk = Callable[[], int]
"""Reads every number of the box and the mask of every object, as training does; returns how many objects these are."""


@dataclass
class Load:
    """What loading cost once.

    seconds: of the clock, and cpu_seconds: of all threads, both after everything is imported.
    base_bytes, peak_bytes: the most memory the process ever had, before and after loading; None where not measured.
    alone_bytes: proportional set size of the process when the file is loaded, and workers_bytes: with WORKERS forked
    processes that have read every record; None where not measured, which is everywhere but on Linux.
    objects: how many were read.  faults: how many objects or images the reader did not take, or found wrong.
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
    """Load ``path`` with the reader ``name`` of READERS, here and now: worth something in a fresh process alone."""
    load = READERS[name]()
    base = peak_memory()
    clock, cpu = time.perf_counter(), time.process_time()
    walk, faults = load(path)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak, alone = peak_memory(), proportional(os.getpid())
    together = None if alone is None else _with_workers(walk, WORKERS)
    return Load(seconds, cpu_seconds, base, peak, alone, together, walk(), faults)


def peak_memory() -> int | None:
    """Bytes of the most memory this program ever had; None on Windows.

    Linux says so itself (VmHWM). The highest of ``getrusage`` is there no help: it outlives exec, so that a fresh
    process begins with that of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return None
    import resource  # Windows has not

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def proportional(process: int) -> int | None:
    """Bytes of a process's memory, each page divided by the number of processes that share it; None off Linux."""
    pages = Path(f"/proc/{process}/{_PSS}")
    if not pages.is_file():
        return None
    (line,) = (line for line in pages.read_text().splitlines() if line.startswith("Pss:"))
    return 1024 * int(line.split()[1])


def _with_workers(walk: Walk, count: int) -> int:
    """Bytes of this process and ``count`` that are forked from it, when each has walked over all.

    MemoryError where one was killed.
    """
    done, tell = os.pipe()
    wait, release = os.pipe()

    def work() -> None:
        os.close(release)  # the last one that is open is this process's: should it be killed, the workers end too
        walk()
        os.write(tell, b".")
        os.close(tell)
        os.read(wait, 1)

    fork = multiprocessing.get_context("fork")
    workers: list[Any] = [fork.Process(target=work, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    os.close(tell)
    walked = sum(len(os.read(done, 1)) for _ in workers)
    together = (os.getpid(), *(worker.pid for worker in workers))
    total = sum(proportional(process) or 0 for process in together) if walked == count else 0
    for end in (release, done, wait):
        os.close(end)
    for worker in workers:
        worker.join()
    if walked < count:
        raise MemoryError
    return total


def _pycocotools() -> Callable[[Path], tuple[Walk, int]]:
    from pycocotools.coco import COCO

    def walk(coco: COCO) -> int:
        objects = 0
        for of_image in coco.imgToAnns.values():
            for annotation in of_image:
                mask = annotation["segmentation"]
                for numbers in mask if isinstance(mask, list) else [mask["counts"]]:
                    sum(numbers)
                sum(annotation["bbox"])
            objects += len(of_image)
        return objects

    def load(path: Path) -> tuple[Walk, int]:
        with redirect_stdout(io.StringIO()):  # it tells how far it is
            coco = COCO(path)
        return partial(walk, coco), 0

    return load


def _ours(checked: bool) -> Callable[[Path], tuple[Walk, int]]:
    import numpy as np

    from detect.data.quality.checks.annotations import check_objects
    from detect.data.readers.coco import parse
    from detect.data.table import Table

    def walk(table: Table) -> int:
        objects = 0
        for record in table:
            mask: Any
            for mask in record.masks or ():
                for numbers in mask if isinstance(mask, list) else [np.frombuffer(mask["counts"], np.uint8)]:
                    numbers.sum()
            record.boxes.sum()
            objects += len(record)
        return objects

    def load(path: Path) -> tuple[Walk, int]:
        draft = parse(path.parent, path)
        found = check_objects(draft.table) if checked else ()
        return partial(walk, draft.table), len(draft.skipped) + sum(len(one.rows) for one in found)

    return load


READERS: dict[str, Callable[[], Callable[[Path], tuple[Walk, int]]]] = {
    "pycocotools": _pycocotools,
    "read": partial(_ours, checked=False),
    "checked": partial(_ours, checked=True),
}


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the program that started this one says that it was stopped
    progress.hide_bars(True)
    name, path = sys.argv[1:]
    try:
        print(json.dumps(asdict(measure(name, Path(path)))))
    except MemoryError:
        return NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
