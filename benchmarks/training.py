"""Speed and memory of training, beside a loop like torchvision's references."""

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

import torch

from benchmarks import report
from benchmarks.settings import TrainSettings
from benchmarks.training_run import MIXED, REFERENCE, SAME, USUAL, Job, Run, start, ways_on
from detect import progress, runtime
from detect.cli.startup import start_program
from detect.data.description import find_spec
from detect.errors import UsageError
from detect.models.zoo import BACKBONES, DETECTORS, TIMM, check_trained_model
from detect.text import counted, unknown
from detect.training.config import TrainConfig

TITLES = {
    REFERENCE: "torchvision's references",
    SAME: "this toolkit, the same",
    USUAL: "this toolkit, as train.py does by default",
    MIXED: "this toolkit, the same in 16 bits (`--amp`)",
}
_ROOT = Path(__file__).resolve().parents[1]

Runs = Mapping[str, Sequence[Run]]
"""Way -> one run per round."""


def run(settings: TrainSettings) -> None:
    """Measure every model in every way, in turns, and publish the tables."""
    for name in settings.models:
        if name in DETECTORS:
            check_trained_model(name)
        elif name not in BACKBONES and not name.startswith(TIMM):
            raise UsageError(unknown("model", name, (*BACKBONES, *DETECTORS)))
    report.check_output(settings.json)
    device, workers = runtime.pick_device(settings.device), runtime.default_workers()
    start_program(settings.quiet, workers)
    spec = find_spec(settings.data, settings.data_root, settings.format)
    spec.prepare()
    classes, records = spec.read("train")
    for name in settings.models:  # in this process first, where an error is one line
        start(name, settings.pretrained, settings.imgsz, classes, has_masks=records.has_masks)
    defaults = TrainConfig()
    job = Job(
        data=settings.data,
        data_root=str(settings.data_root) if settings.data_root else None,
        format=settings.format,
        weights=settings.pretrained,
        aug=defaults.aug,
        ema=defaults.ema,
        imgsz=settings.imgsz,
        batch_size=defaults.batch_size,
        steps=settings.steps,
        workers=workers,
        threads=torch.get_num_threads(),
        device=str(device),
    )
    measured = {name: measure(replace(job, model=name), ways_on(device), settings.rounds) for name in settings.models}
    machine = report.machine(device)
    images = f"{spec.name} ({counted(len(records), 'image')})"
    runs = {n: {way: [asdict(one) for one in some] for way, some in runs.items()} for n, runs in measured.items()}
    facts = {"machine": machine, "job": asdict(job), "runs": runs}
    report.publish(page(measured, job, images, machine), facts, settings.json)


def measure(job: Job, ways: Sequence[str], rounds: int) -> dict[str, list[Run]]:
    """Run the job in each way once per round, each in a new process and with a seed of the round.

    The ways take turns, so that other load on the machine affects all equally. Raises UsageError when there is not
    enough memory.
    """
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    turns = [(way, number) for number in range(rounds) for way in (ways if number % 2 == 0 else ways[::-1])]
    for way, number in progress.bar(turns, desc=job.model):
        runs[way].append(_run_in_new_process(replace(job, way=way, seed=number)))
    return runs


def page(measured: Mapping[str, Runs], job: Job, images: str, machine: str) -> str:
    """Return how it was measured, and the tables of each model, as Markdown.

    measured: runs by model.  job: what the runs share.  images: the dataset in words.
    """
    rounds = len(next(iter(measured.values()))[REFERENCE])
    text = (
        f"`{report.command()}` on {machine}. {images}, `--imgsz {job.imgsz}`, batches of {job.batch_size}, "
        f"{counted(job.workers, 'loader process', 'loader processes')}. Medians of {counted(rounds, 'round')} of "
        f"{counted(job.steps, 'step')}, in turns, each in a new process."
    )
    return "\n\n".join([text, *(_tables(name, runs) for name, runs in measured.items())])


def speedups(runs: Runs, way: str) -> list[float]:
    """Return the images per second of a way relative to the references, for each round."""
    return [_speed(ours) / _speed(theirs) for ours, theirs in zip(runs[way], runs[REFERENCE], strict=True)]


def _run_in_new_process(job: Job) -> Run:
    # The working directory stays the user's, whose paths may be relative.
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_run", json.dumps(asdict(job))],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode == -getattr(signal, "SIGKILL", signal.SIGTERM):
        raise UsageError(f"training {job.model} ({TITLES[job.way]}) needs more memory than there is; lower `imgsz`")
    done.check_returncode()
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def _tables(name: str, runs: Runs) -> str:
    header = (f"`{name}`", "images/s", "times the references", "lowest to highest", "peak MB", "of the references'")
    rows = []
    for way, some in runs.items():
        times, peak, reference = speedups(runs, way), _peak(some), _peak(runs[REFERENCE])
        rows.append(
            [
                TITLES[way],
                f"{statistics.median(map(_speed, some)):.2f}",
                f"{statistics.median(times):.2f}",
                f"{min(times):.2f} to {max(times):.2f}",
                report.megabytes(peak),
                f"{peak / reference:.2f}" if peak and reference else report.NOT_MEASURED,
            ]
        )
    return "\n\n".join([report.table(header, rows), *_stages(runs)])


def _stages(runs: Runs) -> list[str]:
    """Return a table of the milliseconds of each stage per step, or nothing when they were not measured."""
    if not runs[REFERENCE][0].stages:
        return []
    by_way = {way: [_milliseconds(one) for one in some] for way, some in runs.items()}
    rows = [
        [stage, *(f"{statistics.median(one[stage] for one in some):.0f}" for some in by_way.values())]
        for stage in by_way[REFERENCE][0]
    ]
    rows.append(["all", *(f"{statistics.median(sum(one.values()) for one in some):.0f}" for some in by_way.values())])
    return [report.table(("ms per step", *(TITLES[way] for way in by_way)), rows)]


def _milliseconds(one: Run) -> dict[str, float]:
    return {stage: 1000 * seconds / len(one.losses) for stage, seconds in one.stages.items()}


def _speed(one: Run) -> float:
    return one.images / one.seconds


def _peak(runs: Sequence[Run]) -> float | None:
    peaks = [one.peak_bytes for one in runs if one.peak_bytes is not None]
    return statistics.median(peaks) if peaks else None
