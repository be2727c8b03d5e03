"""Training runs and their scores: each run is made once, and what was stopped goes on."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detect.benchmark.experiments import BALLOON, BCCD, MODELS, PARTS, RECIPE, Experiment, of_recipe
from detect.benchmark.training_run import REFERENCE, USUAL
from detect.data.description import DATASETS, find_spec
from detect.errors import UsageError
from detect.files import make_folder
from detect.run import BEST, CURVES, LOG, SETTINGS, STATE
from detect.runlog import MetricsLog

SPLITS = ("val", "test")
IMAGES = "images"  # the folder of the curves, beside the page
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """Where things lie and what they start from.

    data_root: holds the folders balloon/ and bccd/; None for datasets/, where the first is downloaded.
    output_dir: holds a folder for each run.  pretrained, device: of the runs, as train.py takes them.
    """

    data_root: Path | None
    output_dir: Path
    pretrained: str
    device: str

    def flags_of(self, data: str) -> list[str]:
        """``--data`` and what belongs to it."""
        if data == BCCD:
            return ["--data", str((self.data_root or DATASETS) / BCCD)]
        return ["--data", BALLOON, *(["--data-root", str(self.data_root / BALLOON)] if self.data_root else [])]

    def prepare(self, data: str) -> None:
        """Make sure that the files are there, before hours of work; DataError or UsageError where they are not."""
        _, name, *root = self.flags_of(data)
        find_spec(name, *root[1:]).prepare()


@dataclass(frozen=True)
class Result:
    """A finished run.

    metrics: of val and test, as evaluate.py writes them.  epochs: it trained so many.
    """

    metrics: dict[str, dict[str, Any]]
    epochs: int


def make(experiment: Experiment, place: Place) -> None:
    """Train, go on, or do nothing, whatever is left to do; then score what has no scores yet."""
    folder = place.output_dir / experiment.name
    if not (folder / STATE).exists():
        _remove(folder)  # what a run left that was killed before it kept anything
        _python("train.py", *train_flags(experiment, place))
    elif not (folder / CURVES).exists():  # which are drawn at the end
        _python("train.py", "--resume", str(folder))
    for split in SPLITS:
        if not _metrics(folder, split).exists():
            _remove(folder / split)
            flags = ["--model", str(folder / BEST), *place.flags_of(experiment.data), "--split", split, "--intervals"]
            flags += ["--device", place.device, "--output-dir", str(folder), "--name", split]
            _python("evaluate.py", *flags)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def train_flags(experiment: Experiment, place: Place) -> list[str]:
    """The flags of train.py for a run from its beginning."""
    flags = [*place.flags_of(experiment.data), "--backbone", experiment.model, "--pretrained", place.pretrained]
    flags += [*experiment.flags, "--seed", str(experiment.seed), "--device", place.device]
    if experiment.length != 1:
        whole = _settings_of_recipe(experiment.data, place)["epochs"]
        length = experiment.length or 1 / speedup(experiment.data, place)
        flags += ["--epochs", str(max(1, round(length * whole)))]
    return [*flags, "--output-dir", str(place.output_dir), "--name", experiment.name]


def speedup(data: str, place: Place) -> float:
    """How many times as many pictures train.py trains on in a time as torchvision's loop does, here and with what it
    does by default on ``data``; measured where it has not been.

    The steps measured are those of a trained model, as most of training is: before it finds anything there is next to
    nothing for the mask head to do.
    """
    if (known := known_speedup(data, place)) is not None:
        return known
    imgsz = str(_settings_of_recipe(data, place)["imgsz"])
    flags = [*place.flags_of(data), "--imgsz", imgsz, "--device", place.device]
    _python("benchmark.py", "train", *flags, "--json", str(_speeds(data, place)))
    known = known_speedup(data, place)
    assert known is not None
    return known


def known_speedup(data: str, place: Place) -> float | None:
    """As ``speedup`` has measured it, None where it has not."""
    path = _speeds(data, place)
    if not path.exists():
        return None
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"][MODELS[0]]
    pairs = zip(runs[USUAL], runs[REFERENCE], strict=True)
    speeds = [[run["pictures"] / run["seconds"] for run in pair] for pair in pairs]
    return statistics.median(ours / theirs for ours, theirs in speeds)


def _speeds(data: str, place: Place) -> Path:
    return place.output_dir / f"speed_{data}.json"


def _settings_of_recipe(data: str, place: Place) -> dict[str, Any]:
    """What train.py fitted to ``data``, UsageError where it has not yet."""
    path = place.output_dir / of_recipe(data, RECIPE)[0].name / SETTINGS
    if not path.exists():
        raise UsageError(f"first --runs {path.parent.name}, whose fitted settings the others need")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read(experiment: Experiment, place: Place) -> Result | None:
    """What a run came to; None where it is not finished. UsageError where it started from other weights."""
    folder = place.output_dir / experiment.name
    if not all(_metrics(folder, split).exists() for split in SPLITS):
        return None
    settings = yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))
    if settings["pretrained"] != place.pretrained:
        raise UsageError(
            f"{folder} was trained with --pretrained {settings['pretrained']}; take that, or delete it to train anew"
        )
    metrics = {split: json.loads(_metrics(folder, split).read_text(encoding="utf-8")) for split in SPLITS}
    return Result(metrics, len(MetricsLog(folder / LOG).rows()))


def curves_of(name: str) -> str:
    """The file of a run's curves, in IMAGES."""
    return f"curves_{name}.png"


def copy_curves(names: Iterable[str], place: Place, folder: Path) -> None:
    """Those of the recipe's first runs that are among ``names``, for the page to show."""
    make_folder(folder)
    for run in (of_recipe(data, RECIPE)[0] for data in PARTS):
        if run.name in names:
            shutil.copyfile(place.output_dir / run.name / CURVES, folder / curves_of(run.name))


def _metrics(folder: Path, split: str) -> Path:
    return folder / split / "metrics.json"


def _python(program: str, *flags: str) -> None:
    """Run one of the project's programs. UsageError where it fails; KeyboardInterrupt where it is stopped, but not
    before its end, since a training keeps its state then."""
    print("+", program, *flags, flush=True)
    process = subprocess.Popen([sys.executable, str(_ROOT / program), *flags, "--quiet"])
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()  # a second time where it was Ctrl-C, which counts as one
        process.wait()
        raise
    if status > 128:
        raise KeyboardInterrupt
    if status:
        raise UsageError(f"{program} ended with status {status}, as it says above")
