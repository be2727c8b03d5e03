"""Metrics after training on two datasets, with seeds, beside a plain training loop: the tables of docs/results.md.

A finished run leaves a small record and is not trained again; an interrupted run continues.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import detect
from benchmarks import report, training
from benchmarks.report import Result
from benchmarks.settings import IdeasSettings, ResultsSettings, TrainSettings
from benchmarks.training import DEFAULT, REFERENCE, Run
from detect import runtime
from detect.errors import DataError, UsageError
from detect.io.files import make_folder, write_text
from detect.io.resources import datasets_folder
from detect.text import unknown
from detect.training.logging.jsonl import MetricsLog
from detect.training.run import LOG, STATE

DATASETS = ("balloon", "bccd")
SPLITS = ("val", "test")
SEEDS = (0, 1, 2)
BACKBONE = "mobilenet_v2"
SMALL = 320  # pixels
SHORT, PLAIN, EQUAL_TIME = "short", "plain", "equal_time"
TITLES = {
    DEFAULT: "train.py with its defaults",
    SHORT: f"train.py, a third of the steps, {SMALL} px",
    PLAIN: f"plain loop, a third of the steps, {SMALL} px",
    EQUAL_TIME: f"plain loop, in the same time at torchvision's speed, {SMALL} px",
}
# float32 on every machine, so that runs of several machines can be compared.
_SHORT: dict[str, Any] = {"imgsz": SMALL, "amp": False}
# A plain loop: all weights but frozen batch norms learn, and scale and colors change mildly.
_PLAIN = {
    **_SHORT,
    **{"jitter": [0.6, 1.25], "color": "mild", "anchors": "default", "repeat_threshold": 0.0, "freeze": 0},
    **{"lr": 0.01, "warmup_steps": 100, "schedule": "cosine", "weight_decay": 0.0001, "clip": 10.0},
}
# Variant of the training -> settings that differ from the defaults, besides the epochs.
VARIANTS: dict[str, dict[str, Any]] = {DEFAULT: {}, SHORT: _SHORT, PLAIN: _PLAIN, EQUAL_TIME: _PLAIN}
# Name of a run -> (dataset, variant, seed). The first run of a dataset sets the epochs of the others, see epochs_of.
RUNS = {"_".join(map(str, run)): run for run in product(DATASETS, VARIANTS, SEEDS)}


def run(settings: ResultsSettings) -> Result:
    """Train and evaluate the chosen runs that have no record yet, and return the tables of all records."""
    chosen = choose(settings.runs)
    make_folder(settings.records)
    machine = report.machine(runtime.pick_device(settings.device))
    for name in chosen:
        path = settings.records / f"{name}.json"
        if not path.exists():
            record = {**train_and_evaluate(name, settings), "machine": machine}
            write_text(path, json.dumps(record, indent=1) + "\n")
    records, speedups = read_records(settings.records)
    return page(records, speedups), {"runs": records, "speedups": speedups}


def read_records(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the records of all finished runs by name, and the measured speedups by dataset."""
    paths = {name: folder / f"{name}.json" for name in RUNS}
    records = {name: read_json(path) for name, path in paths.items() if path.exists()}
    speeds = {data: speed_file(data, folder) for data in DATASETS}
    return records, {data: read_speedup(path) for data, path in speeds.items() if path.exists()}


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a record. Raises DataError for a damaged file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); delete it to measure the run again") from None


def choose(names: Sequence[str] | None) -> list[str]:
    """Return the runs whose names begin with one of ``names``. Raises UsageError for a name without a run."""
    for name in names or ():
        if not any(run.startswith(name) for run in RUNS):
            raise UsageError(unknown("run", name, [*RUNS]))
    return [run for run in RUNS if names is None or run.startswith(tuple(names))]


def train_and_evaluate(name: str, settings: ResultsSettings) -> dict[str, Any]:
    """Train a run, or continue it, and return its metrics, settings and times, without paths of this machine."""
    data, variant, seed = RUNS[name]
    source = source_of(data, settings.data_root)
    folder = settings.output_dir / name
    if (folder / STATE).exists():
        result = detect.train(resume=folder, device=settings.device, quiet=settings.quiet)
    else:
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed before its first state
        result = train_run(name, data, seed, settings, epochs=epochs_of(data, variant, settings), **VARIANTS[variant])
    evaluation = {"device": settings.device, "intervals": True, **source}
    metrics = {split: detect.evaluate(result.best, split=split, **evaluation).scores for split in SPLITS}
    rows = MetricsLog(folder / LOG).rows()
    seconds = round(sum(row["seconds"] for row in rows), 1)
    kept = {k: v for k, v in result.config.to_dict().items() if k not in ("data_root", "output_dir", "name")}
    kept |= {"data": data, "pretrained": Path(result.config.pretrained).name}
    return {"metrics": metrics, "epochs": len(rows), "seconds": seconds, "settings": kept}


def train_run(
    name: str, data: str, seed: int, settings: ResultsSettings | IdeasSettings, **values: Any
) -> detect.TrainResult:
    """Train the run ``name`` on a dataset of DATASETS. ``values``: settings that differ from the defaults."""
    return detect.train(
        **source_of(data, settings.data_root),
        **values,
        backbone=BACKBONE,
        pretrained=settings.pretrained,
        seed=seed,
        device=settings.device,
        output_dir=settings.output_dir,
        name=name,
        quiet=settings.quiet,
    )


def source_of(data: str, data_root: Path | None) -> dict[str, Any]:
    """Return the settings that select a dataset.

    Raises DataError when it is missing and has to be downloaded by hand.
    """
    if data == "balloon":  # its description downloads it
        return {"data": data, "data_root": data_root / data if data_root else None}
    folder = (data_root or datasets_folder()) / data
    if not folder.is_dir():
        url = "https://github.com/Shenggan/BCCD_Dataset"
        raise DataError(f"no dataset in {folder}; download it from {url}, or give its parent folder as `data_root`")
    return {"data": str(folder)}


def epochs_of(data: str, variant: str, settings: ResultsSettings) -> int | None:
    """Return the number of epochs of a run; None fits it to the dataset.

    Raises UsageError when the run that the number is computed from has no record yet.
    """
    if variant == DEFAULT:
        return None
    first = settings.records / f"{data}_{DEFAULT}_{SEEDS[0]}.json"
    if not first.exists():
        raise UsageError(f"train {first.stem} first; the other runs need its fitted epochs (`runs={first.stem}`)")
    epochs = read_json(first)["settings"]["epochs"] / 3
    if variant == EQUAL_TIME:
        path = speed_file(data, settings.records)
        if not path.exists():
            # Starts from a trained model: the mask head of one that detects nothing yet has almost nothing to compute.
            speed = TrainSettings(imgsz=SMALL, device=settings.device, json=path, quiet=settings.quiet)
            report.publish(replace(speed, **source_of(data, settings.data_root)), training.run)
        epochs /= read_speedup(path)
    return max(1, round(epochs))


def speed_file(data: str, records: Path) -> Path:
    """Return the path of the measured speed of train.py and of torchvision's loop on a dataset."""
    return records / f"speed_{data}.json"


def read_speedup(path: Path) -> float:
    """Return the images per second of train.py relative to torchvision's loop."""
    runs = read_json(path)["runs"][BACKBONE]
    ours, reference = ([Run(**one) for one in runs[variant]] for variant in (DEFAULT, REFERENCE))
    return statistics.median(training.speedups(ours, reference))


def page(records: Mapping[str, Mapping[str, Any]], speedups: Mapping[str, float]) -> str:
    """Return the tables as Markdown: mean and standard deviation over the seeds, in percent."""
    machines = sorted({record["machine"] for record in records.values()})
    parts = [f"Trained on {' and '.join(machines)}." if machines else ""]
    for data in DATASETS:
        header = (data, "seeds", "epochs", "val AP", "val AP50", "test AP", "test AP50")
        rows = []
        for variant, title in TITLES.items():
            done = [records[name] for name, run in RUNS.items() if run[:2] == (data, variant) and name in records]
            cells = [mean(100 * r["metrics"][s]["bbox"][k] for r in done) for s in SPLITS for k in ("AP", "AP50")]
            rows.append([title, str(len(done)), str(done[0]["epochs"]) if done else "", *cells])
        parts.append(report.table(header, rows))
        if data in speedups:
            times = f"{speedups[data]:.2f} times as many steps of {SMALL} px per second as torchvision's loop"
            parts.append(f"train.py takes {times}.")
    return "\n\n".join(parts)


def mean(values: Iterable[float]) -> str:
    """Return the mean and, of several values, the standard deviation."""
    numbers = [*values]
    if not numbers:
        return report.NOT_MEASURED
    spread = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{statistics.fmean(numbers):.1f}{spread}"
