"""Time and memory of reading a large annotation file, beside pycocotools, also with loader processes."""

from __future__ import annotations

import json
import math
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import report
from benchmarks.coco_file import rendered
from benchmarks.loading import NO_MEMORY, WORKERS, Load
from benchmarks.settings import DataSettings
from detect import progress
from detect.errors import UsageError
from detect.text import counted

THEIRS = "pycocotools"
OURS = {"read": "this toolkit, reading", "checked": "this toolkit, reading and checking"}
RATIOS = ("seconds", "peak_bytes", "workers_bytes")
_ROOT = Path(__file__).resolve().parents[1]

Loads = Mapping[str, Sequence[Load]]
"""Reader of ``loading`` -> one measurement per round."""


def run(settings: DataSettings) -> None:
    """Read a rendered file with each reader, in turns, and publish the table."""
    report.check_output(settings.json)
    progress.hide_bars(settings.quiet)
    with rendered(settings.images, settings.objects) as path:
        size = path.stat().st_size
        loads = measure(path, settings.objects, settings.rounds)
    machine = f"{report.machine(torch.device('cpu'))}, {versions()}"
    file = f"{settings.images} images, {settings.objects} annotations, {size / 1e6:.3g} MB"
    facts = {"machine": machine, "images": settings.images, "objects": settings.objects, "file_bytes": size}
    facts |= {"loads": {name: [asdict(load) for load in some] for name, some in loads.items()}}
    report.publish(page(loads, file, machine), facts, settings.json)


def measure(path: Path, objects: int, rounds: int) -> dict[str, list[Load]]:
    """Read the file with each reader once per round, each in a new process.

    Raises UsageError when there is not enough memory.
    """
    loads: dict[str, list[Load]] = {name: [] for name in (THEIRS, *OURS)}
    for name in progress.bar([*loads] * rounds, desc="loading"):
        load = _load(name, path, objects)
        if load.objects != objects or load.faults:
            raise RuntimeError(f"{name} read {load.objects} of {objects} annotations, with {load.faults} faults")
        loads[name].append(load)
    return loads


def versions() -> str:
    """Return the versions of Python and of the libraries that read."""
    packages = (f"{name} {version(name)}" for name in ("pycocotools", "msgspec", "numpy"))
    return ", ".join([f"Python {platform.python_version()}", *packages])


def page(loads: Loads, file: str, machine: str) -> str:
    """Return how it was measured, and the table, as Markdown. file: the annotation file in words."""
    ratio = "of pycocotools'"
    header = ("", "seconds", ratio, "CPU seconds", "peak MB", ratio, "loaded MB", f"with {WORKERS} workers MB", ratio)
    rows = []
    for name, title in {THEIRS: THEIRS, **OURS}.items():
        figures, theirs = _medians(loads[name]), _medians(loads[THEIRS])
        ratios = [_known(f"{figures[key] / theirs[key]:.2f}") for key in RATIOS]
        seconds, cpu_seconds = (f"{figures[key]:.1f}" for key in ("seconds", "cpu_seconds"))
        peak, loaded, workers = (
            _known(f"{figures[f'{key}_bytes'] / 1e6:.0f}") for key in ("peak", "alone", "workers")
        )
        rows.append([title, seconds, ratios[0], cpu_seconds, peak, ratios[1], loaded, workers, ratios[2]])
    bases = sorted({_known(f"{_medians(some)['base_bytes'] / 1e6:.0f}") for some in loads.values()})
    rounds = counted(len(loads[THEIRS]), "round")
    return (
        f"`{report.command()}` on {machine}. The file: {file}. Medians of {rounds}. {' or '.join(bases)} MB of "
        f"the memory are Python and libraries before reading.\n\n{report.table(header, rows)}"
    )


def _load(name: str, path: Path, objects: int) -> Load:
    command = [sys.executable, "-m", "benchmarks.loading", name, str(path)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode in (NO_MEMORY, -getattr(signal, "SIGKILL", signal.SIGTERM)):
        raise UsageError(f"reading {objects} annotations ({name}) needs more memory than there is; lower `objects`")
    done.check_returncode()
    return Load(**json.loads(done.stdout))


def _medians(loads: Sequence[Load]) -> dict[str, float]:
    """Return the median of every figure; NaN where it was not measured."""
    rounds = [asdict(load) for load in loads]
    return {
        key: math.nan if rounds[0][key] is None else statistics.median(r[key] for r in rounds) for key in rounds[0]
    }


def _known(figure: str) -> str:
    return report.NOT_MEASURED if figure == "nan" else figure
