"""Measurement of one reader in a separate process: ``python -m benchmarks.loading NAME FILE``.

Prints a Load as JSON. The process imports only what its reader needs, so that its memory is the reader's.
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

WORKERS = 4  # the default number of loader processes on a machine with 8 or more cores
NO_MEMORY = 12  # exit status
_PSS = "smaps_rollup"  # since Linux 4.14

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
    """Read ``path`` with the reader ``name`` of READERS in this process, which should be a new one."""
    load = READERS[name]()
    base = peak_memory()
    clock, cpu = time.perf_counter(), time.process_time()
    walk, faults = load(path)
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    peak, alone = peak_memory(), proportional(os.getpid())
    together = None if alone is None else _with_workers(walk, WORKERS)
    return Load(seconds, cpu_seconds, base, peak, alone, together, walk(), faults)


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes; None on Windows.

    On Linux this is VmHWM. The maximum of ``getrusage`` survives exec there, so a new process would start with the
    peak of its parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        return None
    import resource  # not available on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def proportional(process: int) -> int | None:
    """Return the proportional set size of a process in bytes, in which a shared page is divided; None off Linux."""
    pages = Path(f"/proc/{process}/{_PSS}")
    if not pages.is_file():
        return None
    (line,) = (line for line in pages.read_text().splitlines() if line.startswith("Pss:"))
    return 1024 * int(line.split()[1])


def _with_workers(walk: Walk, count: int) -> int:
    """Return the bytes of this process and ``count`` forked ones, after each has read every record.

    Raises MemoryError when one was killed.
    """
    done, tell = os.pipe()
    wait, release = os.pipe()

    def work() -> None:
        os.close(release)  # only the parent keeps its end open, so the workers end when it is killed
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
        with redirect_stdout(io.StringIO()):  # it prints its progress
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
        split = parse(path.parent, path)
        found = check_objects(split.table) if checked else ()
        return partial(walk, split.table), len(split.skipped) + sum(len(one.rows) for one in found)

    return load


READERS: dict[str, Callable[[], Callable[[Path], tuple[Walk, int]]]] = {
    "pycocotools": _pycocotools,
    "read": partial(_ours, checked=False),
    "checked": partial(_ours, checked=True),
}


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent process reports the stop
    progress.hide_bars(True)
    name, path = sys.argv[1:]
    try:
        print(json.dumps(asdict(measure(name, Path(path)))))
    except MemoryError:
        return NO_MEMORY
    return 0


if __name__ == "__main__":
    sys.exit(main())
