"""How fast training is and how much memory it takes, beside torchvision's own training loop."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import markdown
from benchmarks.training_run import MIXED, REFERENCE, SAME, USUAL, Job, Run
from detect import progress
from detect.errors import UsageError

TITLES = {
    REFERENCE: "torchvision's references",
    SAME: "this toolkit, the same",
    USUAL: "this toolkit, as train.py does by default",
    MIXED: "this toolkit, the same in 16 bits (`--amp`)",
}
# How many times the images a second of the references are aimed at.
_GOALS = {"cpu": (SAME, 1.5), "cuda": (MIXED, 2.0)}
_ROOT = Path(__file__).resolve().parents[1]

Runs = Mapping[str, Sequence[Run]]
"""By way, one of every round."""


def measure(job: Job, ways: Sequence[str], rounds: int) -> dict[str, list[Run]]:
    """The job in each of the ``ways`` once in each round, in a fresh process and with a seed of the round's; in turns,
    so that what else the machine does falls on all alike. UsageError where there is no memory left."""
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    turns = [(way, number) for number in range(rounds) for way in (ways if number % 2 == 0 else ways[::-1])]
    for way, number in progress.bar(turns, desc=job.model):
        runs[way].append(_run(replace(job, way=way, seed=number)))
    return runs


def _run(job: Job) -> Run:
    command = [sys.executable, "-m", "benchmarks.training_run", json.dumps(asdict(job))]
    # The folder stays the user's, whose paths may be relative.
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == -getattr(signal, "SIGKILL", signal.SIGTERM):
        raise UsageError(f"training {job.model} ({TITLES[job.way]}) takes more memory than there is; try less --imgsz")
    done.check_returncode()
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def page(measured: Mapping[str, Runs], job: Job, data: str, command: str, machine: str) -> str:
    """Markdown: how it was measured, and of each model the figures, the verdict and where the time goes.

    measured: by model.  job: what they have in common.  data: what was trained on, in words.
    """
    rounds = len(next(iter(measured.values()))[REFERENCE])
    text = (
        f"Written by `{command}` on {machine}. {data}, `--imgsz {job.imgsz}`, batches of {job.batch_size}, "
        f"{job.workers} loader processes. Medians of {rounds} round{'s' * (rounds > 1)} of {job.steps} steps, by "
        "turns, each in a fresh process."
    )
    return "\n\n".join([text, *(_of_model(name, runs, job.device) for name, runs in measured.items())])


def _of_model(name: str, runs: Runs, device: str) -> str:
    header = (f"`{name}`", "images a second", "times the references", "lowest to highest", "peak MB", "of theirs")
    rows = []
    for way, some in runs.items():
        times, peak = speeds(runs, way), _peak(some)
        of_theirs = peak / theirs if peak and (theirs := _peak(runs[REFERENCE])) else None
        rows.append(
            [
                TITLES[way],
                f"{statistics.median(_speed(run) for run in some):.2f}",
                f"{statistics.median(times):.2f}",
                f"{min(times):.2f} to {max(times):.2f}",
                "not measured" if peak is None else f"{peak / 1e6:.0f}",
                "not measured" if of_theirs is None else f"{of_theirs:.2f}",
            ]
        )
    return "\n\n".join([markdown.table(header, rows), verdict(runs, device), *_stages(runs)])


def speeds(runs: Runs, way: str) -> list[float]:
    """How many times the images a second of the references a way has, of every round."""
    return [_speed(ours) / _speed(theirs) for ours, theirs in zip(runs[way], runs[REFERENCE], strict=True)]


def verdict(runs: Runs, device: str) -> str:
    """Whether the goal is met."""
    way, goal = _GOALS["cuda" if device.startswith("cuda") else "cpu"]
    found = statistics.median(speeds(runs, way))
    return f"The goal is {goal} times the references: **{'met' if found >= goal else 'missed'}** ({found:.2f})."


def _stages(runs: Runs) -> list[str]:
    """A table of the milliseconds of a step that each stage takes; none where they were not measured."""
    if not runs[REFERENCE][0].stages:
        return []
    of_way = {way: [_milliseconds(run) for run in some] for way, some in runs.items()}
    rows = [
        [stage, *(f"{statistics.median(one[stage] for one in some):.0f}" for some in of_way.values())]
        for stage in of_way[REFERENCE][0]
    ]
    rows.append(["all", *(f"{statistics.median(sum(one.values()) for one in some):.0f}" for some in of_way.values())])
    return [markdown.table(("ms of a step", *(TITLES[way] for way in of_way)), rows)]


def _milliseconds(run: Run) -> dict[str, float]:
    return {stage: 1000 * seconds / len(run.losses) for stage, seconds in run.stages.items()}


def _speed(run: Run) -> float:
    return run.images / run.seconds


def _peak(runs: Sequence[Run]) -> float | None:
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    return statistics.median(peaks) if peaks else None
