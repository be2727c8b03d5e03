"""How this toolkit loads a large file of annotations, beside pycocotools: its time, its memory, and that of loader
processes."""

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

from benchmarks import markdown
from benchmarks.loading import NO_MEMORY, WORKERS, Load
from detect import progress
from detect.errors import UsageError

THEIRS = "pycocotools"
OURS = {"read": "this toolkit, reading", "checked": "this toolkit, reading and checking"}
GOALS = {  # what of pycocotools' is aimed at, at most
    "seconds": ("time", 1),
    "peak_bytes": ("peak memory", 1 / 3),
    "workers_bytes": ("memory with workers", 1 / 3),
}
_ROOT = Path(__file__).resolve().parents[1]

Loads = Mapping[str, Sequence[Load]]
"""By reader of ``loading``, one of every round."""


def measure(path: Path, objects: int, rounds: int) -> dict[str, list[Load]]:
    """Each reader loads the file once in every round, in a fresh process. UsageError where there is no memory left."""
    loads: dict[str, list[Load]] = {name: [] for name in (THEIRS, *OURS)}
    for name in progress.bar([*loads] * rounds, desc="loading"):
        load = _load(name, path, objects)
        if load.objects != objects or load.faults:
            raise RuntimeError(f"{name} read {load.objects} of {objects} objects, with {load.faults} faults")
        loads[name].append(load)
    return loads


def versions() -> str:
    """Those that matter here."""
    packages = (f"{name} {version(name)}" for name in ("pycocotools", "msgspec", "numpy"))
    return ", ".join([f"Python {platform.python_version()}", *packages])


def page(loads: Loads, file: str, command: str, machine: str) -> str:
    """Markdown: how it was measured, the table, and whether the goal is met. file: what was loaded, in words."""
    of = "of pycocotools'"
    header = ("", "seconds", of, "CPU seconds", "peak MB", of, "loaded MB", f"with {WORKERS} workers MB", of)
    rows = []
    for name, title in {THEIRS: THEIRS, **OURS}.items():
        figures, ratio = _medians(loads[name]), _ratios(loads, name)
        seconds, cpu_seconds = (f"{figures[key]:.1f}" for key in ("seconds", "cpu_seconds"))
        peak, loaded, shared = (_megabytes(figures[f"{key}_bytes"]) for key in ("peak", "alone", "workers"))
        ratios = [_known(f"{ratio[key]:.2f}") for key in GOALS]
        rows.append([title, seconds, ratios[0], cpu_seconds, peak, ratios[1], loaded, shared, ratios[2]])
    bases = sorted({_megabytes(_medians(some)["base_bytes"]) for some in loads.values()})
    rounds = f"{len(loads[THEIRS])} round{'s' * (len(loads[THEIRS]) > 1)}"
    return (
        f"Written by `{command}` on {machine}. The file: {file}. Medians of {rounds}; of the memory, "
        f"{' or '.join(bases)} MB are Python and libraries before anything is read.\n\n"
        f"{markdown.table(header, rows)}\n\n{verdict(loads)}"
    )


def verdict(loads: Loads) -> str:
    """Whether the goal is met, as far as it was measured."""
    lines = [
        "The goal is no more than pycocotools' time and at most a third of its memory, at the peak and with workers.",
        "",
    ]
    for name, title in OURS.items():
        ratios = _ratios(loads, name)
        missed = [f"{what} is {ratios[key]:.2f}" for key, (what, most) in GOALS.items() if ratios[key] > most]
        unknown = [f"{what} was not measured" for key, (what, _) in GOALS.items() if math.isnan(ratios[key])]
        why = f" ({', '.join(missed + unknown)})" if missed or unknown else ""
        lines.append(f"- {title}: **{'missed' if missed else 'met'}**{why}")
    return "\n".join(lines)


def _load(name: str, path: Path, objects: int) -> Load:
    command = [sys.executable, "-m", "benchmarks.loading", name, str(path)]
    done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode in (NO_MEMORY, -getattr(signal, "SIGKILL", signal.SIGTERM)):
        raise UsageError(f"loading {objects} objects ({name}) takes more memory than there is; try fewer --objects")
    done.check_returncode()
    return Load(**json.loads(done.stdout))


def _medians(loads: Sequence[Load]) -> dict[str, float]:
    """Of every figure; NaN where it was not measured."""
    rounds = [asdict(load) for load in loads]
    return {
        key: math.nan if rounds[0][key] is None else statistics.median(r[key] for r in rounds) for key in rounds[0]
    }


def _ratios(loads: Loads, name: str) -> dict[str, float]:
    ours, theirs = _medians(loads[name]), _medians(loads[THEIRS])
    return {key: ours[key] / theirs[key] for key in GOALS}


def _megabytes(count: float) -> str:
    return _known(f"{count / 1e6:.0f}")


def _known(figure: str) -> str:
    return "not measured" if figure == "nan" else figure
