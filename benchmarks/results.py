"""Training runs and their scores: each run is made once, and what was stopped goes on. What they came to is kept."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.experiments import BALLOON, BCCD, MODELS, PARTS, RECIPE, SMALLER, Experiment, every, of_recipe
from benchmarks.records import SPLITS, Record
from benchmarks.training_run import REFERENCE, USUAL
from detect.data.description import find_spec
from detect.errors import DataError, UsageError
from detect.io.files import make_folder
from detect.io.links import publishable_link
from detect.io.resources import datasets_folder
from detect.training.run import BEST, CURVES, SETTINGS, STATE

SOURCES = {
    BALLOON: "https://github.com/matterport/Mask_RCNN/releases/tag/v2.1",
    BCCD: "https://github.com/Shenggan/BCCD_Dataset",
}
IMAGES = "images"  # the folder of the curves, beside the page
_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Place:
    """Where things lie and what they start from.

    data_root: holds the folders balloon/ and bccd/; None for datasets/, where the first is downloaded.
    output_dir: holds a folder for each run.  records: holds a file for each that is finished.
    pretrained, device: of the runs, as train.py takes them.  machine: what they run on, in words.
    """

    data_root: Path | None
    output_dir: Path
    records: Path
    pretrained: str
    device: str
    machine: str

    def flags_of(self, data: str) -> list[str]:
        """``--data`` and what belongs to it."""
        if data == BCCD:
            return ["--data", str((self.data_root or datasets_folder()) / BCCD)]
        return ["--data", BALLOON, *(["--data-root", str(self.data_root / BALLOON)] if self.data_root else [])]

    def prepare(self, data: str) -> None:
        """Make sure that the files are there, before hours of work; DataError or UsageError where they are not."""
        _, name, *root = self.flags_of(data)
        try:
            find_spec(name, *root[1:]).prepare()
        except (DataError, UsageError) as error:
            where = f"--data-root is the folder in which {' and '.join(SOURCES)} lie"
            raise DataError(f"{error}; {where}; {data} is to be had at {SOURCES[data]}") from None


def make(experiment: Experiment, place: Place) -> None:
    """Train, go on, or do nothing, whatever is left to do; then score what has no scores yet, and keep them."""
    if read(experiment, place):
        return
    folder = place.output_dir / experiment.name
    check_weights(experiment, place)
    if not (folder / STATE).exists():
        _remove(folder)  # what a run left that was killed before it kept anything
        _python("train.py", *train_flags(experiment, place))
    elif not (folder / CURVES).exists():  # which are drawn at the end
        _python("train.py", "--resume", str(folder))
    for split in SPLITS:
        if not records.metrics_of(folder, split).exists():
            _remove(folder / split)
            flags = ["--model", str(folder / BEST), *place.flags_of(experiment.data), "--split", split, "--intervals"]
            flags += ["--device", place.device, "--output-dir", str(folder), "--name", split]
            _python("evaluate.py", *flags)
    records.keep(records.of_run(folder, place.machine), records.path_of(place.records, experiment.name))


def check_weights(experiment: Experiment, place: Place) -> None:
    """UsageError where the run was begun, or others of its model were made, from other weights."""
    folder, ours = place.output_dir / experiment.name, publishable_link(place.pretrained)
    if (folder / SETTINGS).exists() and (theirs := records.settings_of(folder)["pretrained"]) != ours:
        raise UsageError(f"{folder} was trained with --pretrained {theirs}; take that, or delete it to train anew")
    for run in (run for run in every() if run.model == experiment.model):
        if (record := read(run, place)) and (theirs := record.settings["pretrained"]) != records.weights_of(ours):
            path = records.path_of(place.records, run.name)
            raise UsageError(f"{path} is of a run with --pretrained {theirs}; take that, or another --records DIR")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def train_flags(experiment: Experiment, place: Place) -> list[str]:
    """The flags of train.py for a run from its beginning."""
    flags = [*place.flags_of(experiment.data), "--backbone", experiment.model, "--pretrained", place.pretrained]
    flags += [*experiment.flags, "--seed", str(experiment.seed), "--device", place.device]
    if (experiment.length, experiment.pace) != (1, "ours"):
        epochs = experiment.length * _settings_of_recipe(experiment.data, place)["epochs"]
        epochs /= speedup(experiment.data, place) if experiment.pace == "theirs" else 1
        flags += ["--epochs", str(max(1, round(epochs)))]
    return [*flags, "--output-dir", str(place.output_dir), "--name", experiment.name]


def speedup(data: str, place: Place) -> float:
    """How many times as many images train.py trains on in a time as torchvision's loop does, here, of the SMALLER
    size and with what it does by default on ``data``; measured where it has not been.

    The steps measured are those of a trained model, as most of training is: before it finds anything there is next to
    nothing for the mask head to do.
    """
    if (known := known_speedup(data, place)) is not None:
        return known
    flags = [*place.flags_of(data), "--imgsz", str(SMALLER), "--device", place.device]
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
    speeds = [[run["images"] / run["seconds"] for run in pair] for pair in pairs]
    return statistics.median(ours / theirs for ours, theirs in speeds)


def _speeds(data: str, place: Place) -> Path:
    return records.path_of(place.records, f"speed_{data}")


def _settings_of_recipe(data: str, place: Place) -> Mapping[str, Any]:
    """What train.py fitted to ``data``, UsageError where it has not yet."""
    first = of_recipe(data, RECIPE)[0]
    if record := read(first, place):
        return record.settings
    folder = place.output_dir / first.name
    if not (folder / SETTINGS).exists():
        raise UsageError(f"first --runs {first.name}, whose fitted settings the others need")
    return records.settings_of(folder)


def read(experiment: Experiment, place: Place) -> Record | None:
    """What a run came to; None where it is not finished."""
    return records.read(records.path_of(place.records, experiment.name))


def curves_of(name: str) -> str:
    """The file of a run's curves, in IMAGES."""
    return f"curves_{name}.png"


def copy_curves(names: Iterable[str], place: Place, folder: Path) -> None:
    """Those of the recipe's first runs that are among ``names`` and were made here, for the page to show."""
    make_folder(folder)
    for run in (of_recipe(data, RECIPE)[0] for data in PARTS):
        if run.name in names and (place.output_dir / run.name / CURVES).exists():
            shutil.copyfile(place.output_dir / run.name / CURVES, folder / curves_of(run.name))


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
