"""Metrics after training on two datasets, with seeds, beside a plain training loop: the tables of docs/results.md.

Each run is trained once by train.py and scored by evaluate.py. A finished run leaves a small record; an interrupted
run continues.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import report
from benchmarks.settings import ResultsSettings
from benchmarks.training_run import REFERENCE, USUAL
from detect import runtime
from detect.cli.startup import start_program
from detect.errors import DataError, UsageError
from detect.io.files import make_folder, write_text
from detect.io.resources import datasets_folder
from detect.text import unknown
from detect.training.logging.jsonl import MetricsLog
from detect.training.run import BEST, CURVES, LOG, SETTINGS, STATE

DATASETS = ("balloon", "bccd")
SPLITS = ("val", "test")
SEEDS = (0, 1, 2)
BACKBONE = "mobilenet_v2"
SMALL = 320  # pixels
RECIPE, SHORT, PLAIN, BRIEF = "recipe", "short", "plain", "brief"
WAYS = {
    RECIPE: "train.py with its defaults",
    SHORT: f"train.py, a third of the steps, {SMALL} px",
    PLAIN: f"plain loop, a third of the steps, {SMALL} px",
    BRIEF: f"plain loop, in the same time at torchvision's speed, {SMALL} px",
}
# float32 on every machine, so that runs of several machines can be compared.
_SMALL_FLAGS = ("--imgsz", str(SMALL), "--no-amp")
# A plain loop: all weights learn, scale and colors change mildly, nothing is fitted to the dataset.
_PLAIN_FLAGS = (
    *(
        "--jitter",
        "0.6",
        "1.25",
        "--color",
        "mild",
        "--anchors",
        "default",
        "--repeat-threshold",
        "0",
        "--freeze",
        "0",
    ),
    *("--lr", "0.01", "--warmup-steps", "100", "--schedule", "cosine", "--weight-decay", "0.0001", "--clip", "10"),
)
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Experiment:
    """One training run: a dataset, one of WAYS, and a seed."""

    data: str
    way: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}_{self.way}_{self.seed}"


def run(settings: ResultsSettings) -> None:
    """Train and score what has no record yet, and publish the tables of all records."""
    chosen = choose(settings.runs)
    report.check_output(settings.json)
    make_folder(settings.records)
    start_program(settings.quiet)
    machine = report.machine(runtime.pick_device(settings.device))
    for experiment in chosen:
        make(experiment, settings, machine)
    records = {e.name: r for e in every() if (r := read_record(e.name, settings.records)) is not None}
    speedups = {data: known_speedup(data, settings.records) for data in DATASETS}
    report.publish(page(records, speedups), {"machine": machine, "runs": records, "speedups": speedups}, settings.json)


def every() -> list[Experiment]:
    """Return all runs, the first ones needed by the others first."""
    return [Experiment(data, way, seed) for data in DATASETS for way in WAYS for seed in SEEDS]


def choose(names: Sequence[str] | None) -> list[Experiment]:
    """Return the runs whose names begin with one of ``names``. Raises UsageError for a name without a run."""
    if names is None:
        return every()
    chosen = {name: [e for e in every() if e.name.startswith(name)] for name in names}
    for name, experiments in chosen.items():
        if not experiments:
            raise UsageError(unknown("run", name, [e.name for e in every()]))
    return [experiment for experiments in chosen.values() for experiment in experiments]


def make(experiment: Experiment, settings: ResultsSettings, machine: str) -> None:
    """Train, continue or skip the run, score it on each split, and write its record."""
    if read_record(experiment.name, settings.records) is not None:
        return
    folder = settings.output_dir / experiment.name
    if not (folder / STATE).exists():
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed before its first state
        _python("train.py", *train_flags(experiment, settings))
    elif not (folder / CURVES).exists():  # drawn at the end of a run
        _python("train.py", "--resume", str(folder))
    for split in SPLITS:
        if not (folder / split / "metrics.json").exists():
            shutil.rmtree(folder / split, ignore_errors=True)
            data = data_flags(experiment.data, settings.data_root)
            flags = [
                "--model",
                str(folder / BEST),
                *data,
                "--split",
                split,
                "--intervals",
                "--device",
                settings.device,
            ]
            _python("evaluate.py", *flags, "--output-dir", str(folder), "--name", split)
    record = record_of(folder, machine)
    write_text(settings.records / f"{experiment.name}.json", json.dumps(record, indent=1) + "\n")


def data_flags(data: str, data_root: Path | None) -> list[str]:
    """Return the flags that select a dataset."""
    if data == "balloon":  # its description downloads it
        return ["--data", data, *(["--data-root", str(data_root / data)] if data_root else [])]
    folder = (data_root or datasets_folder()) / data
    if not folder.is_dir():
        url = "https://github.com/Shenggan/BCCD_Dataset"
        raise DataError(f"no dataset in {folder}; download it from {url}, or give its parent folder as `data_root`")
    return ["--data", str(folder)]


def train_flags(experiment: Experiment, settings: ResultsSettings) -> list[str]:
    """Return the flags of train.py for a new run."""
    flags = [*data_flags(experiment.data, settings.data_root), "--backbone", BACKBONE]
    flags += ["--pretrained", settings.pretrained, "--seed", str(experiment.seed), "--device", settings.device]
    if experiment.way != RECIPE:
        flags += [*_SMALL_FLAGS, *(() if experiment.way == SHORT else _PLAIN_FLAGS)]
        epochs = fitted_epochs(experiment.data, settings) / 3
        epochs /= speedup(experiment.data, settings) if experiment.way == BRIEF else 1
        flags += ["--epochs", str(max(1, round(epochs)))]
    return [*flags, "--output-dir", str(settings.output_dir), "--name", experiment.name]


def fitted_epochs(data: str, settings: ResultsSettings) -> int:
    """Return the number of epochs that train.py fitted to a dataset. Raises UsageError before its first run."""
    first = f"{data}_{RECIPE}_{SEEDS[0]}"
    if record := read_record(first, settings.records):
        return record["settings"]["epochs"]
    path = settings.output_dir / first / SETTINGS
    if not path.exists():
        raise UsageError(f"train {first} first; the other runs need its fitted epochs (`runs={first}`)")
    return yaml.safe_load(path.read_text(encoding="utf-8"))["epochs"]


def speedup(data: str, settings: ResultsSettings) -> float:
    """Return the images per second of train.py relative to torchvision's loop, measured if it is not known.

    It is measured on a trained model: before a model detects anything, its mask head has almost nothing to do.
    """
    if known_speedup(data, settings.records) is None:
        flags = [*data_flags(data, settings.data_root), "--imgsz", str(SMALL), "--device", settings.device]
        _python("benchmark.py", "train", *flags, "--json", str(settings.records / f"speed_{data}.json"))
    known = known_speedup(data, settings.records)
    assert known is not None
    return known


def known_speedup(data: str, records: Path) -> float | None:
    """Return the measured speedup, or None."""
    path = records / f"speed_{data}.json"
    if not path.exists():
        return None
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"][BACKBONE]

    def speeds(way: str) -> list[float]:
        return [one.get("images", one.get("pictures")) / one["seconds"] for one in runs[way]]  # vocabulary: old name

    return statistics.median(a / b for a, b in zip(speeds(USUAL), speeds(REFERENCE), strict=True))


def record_of(folder: Path, machine: str) -> dict[str, Any]:
    """Return the metrics, settings and times of a finished run, without paths of this machine."""
    rows = MetricsLog(folder / LOG).rows()
    settings = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    kept = {k: v for k, v in settings.items() if k not in ("data_root", "output_dir", "name")}
    kept |= {"data": Path(settings["data"]).name, "pretrained": Path(settings["pretrained"]).name}
    metrics = {split: json.loads((folder / split / "metrics.json").read_text(encoding="utf-8")) for split in SPLITS}
    seconds = round(sum(row["seconds"] for row in rows), 1)
    return {"metrics": metrics, "epochs": len(rows), "seconds": seconds, "settings": kept, "machine": machine}


def read_record(name: str, records: Path) -> dict[str, Any] | None:
    """Return the record of a run, or None when it is not finished. Raises DataError for another file."""
    path = records / f"{name}.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if set(record["metrics"]) == set(SPLITS) and record["settings"]["epochs"]:
            return record
    except (ValueError, TypeError, KeyError):
        pass
    raise DataError(f"{path} is not the record of a run; delete it to train the run again")


def page(records: Mapping[str, Mapping[str, Any]], speedups: Mapping[str, float | None]) -> str:
    """Return the tables as Markdown: mean and standard deviation over the seeds, in percent."""
    parts = [f"`{report.command()}`"]
    for data in DATASETS:
        header = (data, "seeds", "epochs", "val AP", "val AP50", "test AP", "test AP50")
        rows = []
        for way, title in WAYS.items():
            done = [records[name] for seed in SEEDS if (name := Experiment(data, way, seed).name) in records]
            cells = [mean([100 * r["metrics"][s]["bbox"][k] for r in done]) for s in SPLITS for k in ("AP", "AP50")]
            rows.append([title, str(len(done)), str(done[0]["epochs"]) if done else "", *cells])
        parts.append(report.table(header, rows))
        if (factor := speedups[data]) is not None:
            parts.append(
                f"train.py takes {factor:.2f} times as many steps of {SMALL} px per second as torchvision's loop."
            )
    return "\n\n".join(parts)


def mean(values: Sequence[float]) -> str:
    """Return the mean and, of several values, the standard deviation."""
    if not values:
        return report.NOT_MEASURED
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def _python(program: str, *flags: str) -> None:
    """Run a program of the project to its end.

    Raises UsageError when it fails, and KeyboardInterrupt when it is stopped, after it has saved its state.
    """
    print("+", program, *flags, flush=True)
    process = subprocess.Popen([sys.executable, str(_ROOT / program), *flags, "--quiet"])
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if status > 128:
        raise KeyboardInterrupt
    if status:
        raise UsageError(f"{program} ended with status {status}; its message stands above")
