"""Time and memory of reading a large annotation file, beside pycocotools, also with loader processes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks import loading, report
from benchmarks.coco_file import generated
from benchmarks.loading import WORKERS, Load
from benchmarks.processes import in_new_process
from benchmarks.report import Result
from benchmarks.settings import DataSettings
from detect import progress
from detect.text import counted

# Reader in ``benchmarks.loading`` -> title of its row in the table.
TITLES = {
    "pycocotools": "pycocotools",
    "read": "this toolkit, reading",
    "checked": "this toolkit, reading and checking",
}

Loads = Mapping[str, Sequence[Load]]
"""Reader -> one measurement per round."""


def run(settings: DataSettings) -> Result:
    """Measure each reader on a generated file. The readers take turns."""
    with generated(settings.images, settings.objects) as path:
        size = path.stat().st_size
        loads = measure(path, settings.objects, settings.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("pycocotools", "msgspec", "numpy"))
    versions = f"Python {platform.python_version()}, {packages}"
    file = f"{settings.images} images, {settings.objects} annotations, {size / 1e6:.3g} MB"
    rounds = counted(settings.rounds, "round")
    text = f"{versions}. The file: {file}. Medians of {rounds}. {table(loads)}"
    facts = {"versions": versions, "images": settings.images, "objects": settings.objects, "file_bytes": size}
    return text, facts | {"loads": {name: [asdict(load) for load in some] for name, some in loads.items()}}


def measure(path: Path, objects: int, rounds: int) -> dict[str, list[Load]]:
    """Read the file with each reader once per round, each in a new process.

    Raises UsageError when there is not enough memory.
    """
    loads: dict[str, list[Load]] = {name: [] for name in TITLES}
    for name in progress.bar([*loads] * rounds, desc="loading"):
        task = f"reading {objects} annotations ({name})"
        load = in_new_process(loading.measure, name, path, task=task, lower="objects")
        if load.objects != objects or load.faults:
            raise RuntimeError(f"{name} read {load.objects} of {objects} annotations, with {load.faults} faults")
        loads[name].append(load)
    return loads


def table(loads: Loads) -> str:
    """Return a sentence with the memory used before reading, and the table, as Markdown."""
    ratio = "of pycocotools'"
    header = ("", "seconds", ratio, "CPU seconds", "peak MB", ratio, "loaded MB", f"with {WORKERS} workers MB", ratio)
    medians = {name: _medians(loads[name]) for name in TITLES}
    rows = []
    for name, ours in medians.items():
        ratios = {key: report.ratio(ours[key], theirs) for key, theirs in medians["pycocotools"].items()}
        memory = {key: report.megabytes(value) for key, value in ours.items()}
        row = [TITLES[name], f"{ours['seconds']:.1f}", ratios["seconds"], f"{ours['cpu_seconds']:.1f}"]
        row += [memory["peak_bytes"], ratios["peak_bytes"], memory["alone_bytes"]]
        rows.append([*row, memory["workers_bytes"], ratios["workers_bytes"]])
    base = " or ".join(sorted({report.megabytes(ours["base_bytes"]) for ours in medians.values()}))
    text = f"Before reading, Python and the imported libraries use {base} MB."
    return f"{text}\n\n{report.table(header, rows)}"


def _medians(loads: Sequence[Load]) -> dict[str, float | None]:
    """Return the median of each time and memory; None where it was not measured."""
    names = ("seconds", "cpu_seconds", "base_bytes", "peak_bytes", "alone_bytes", "workers_bytes")
    return {name: report.median(getattr(load, name) for load in loads) for name in names}
