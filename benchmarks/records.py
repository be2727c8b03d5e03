"""What finished training runs came to: a small file each, kept beside the page that tells of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from detect.data.augmentation import PRESETS
from detect.errors import DataError
from detect.io.files import make_folder, write_text
from detect.io.links import publishable_link
from detect.training.logging.jsonl import MetricsLog
from detect.training.run import LOG, SETTINGS

SPLITS = ("val", "test")
_PLACES = ("data_root", "output_dir", "name", "config")  # which are other ones elsewhere


@dataclass(frozen=True)
class Record:
    """A finished run.

    metrics: of SPLITS, as evaluate.py writes them.  epochs, seconds: it trained so many, so long.
    settings: all of train.py's, as fitted to the data, and the preset that --aug names.
    machine: what it ran on, in words.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    epochs: int
    seconds: float
    settings: Mapping[str, Any]
    machine: str


def path_of(folder: Path, name: str) -> Path:
    """The file of the run called ``name``."""
    return folder / f"{name}.json"


def of_run(folder: Path, machine: str) -> Record:
    """What is in the folder of a run that was trained and scored."""
    rows = MetricsLog(folder / LOG).rows()
    settings = {key: value for key, value in settings_of(folder).items() if key not in _PLACES}
    settings |= {"data": Path(settings["data"]).name, "pretrained": weights_of(settings["pretrained"])}
    settings["preset"] = asdict(PRESETS[settings["aug"]])
    metrics = {split: json.loads(metrics_of(folder, split).read_text(encoding="utf-8")) for split in SPLITS}
    return Record(metrics, len(rows), round(sum(row["seconds"] for row in rows), 1), settings, machine)


def settings_of(folder: Path) -> dict[str, Any]:
    """The fitted settings in the folder of a run."""
    return yaml.safe_load((folder / SETTINGS).read_text(encoding="utf-8"))


def metrics_of(folder: Path, split: str) -> Path:
    """The file in a run's folder in which evaluate.py leaves its scores."""
    return folder / split / "metrics.json"


def weights_of(pretrained: str) -> str:
    """What a run started from, without the folder of the file and the key of an address."""
    return Path(publishable_link(pretrained)).name


def keep(record: Record, path: Path) -> None:
    """Write it to ``path``."""
    make_folder(path.parent)
    write_text(path, json.dumps(asdict(record), indent=1) + "\n")


def read(path: Path) -> Record | None:
    """What ``keep`` wrote, None where there is no file. DataError for one of something else."""
    if not path.exists():
        return None
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        if set(record.metrics) == set(SPLITS) and record.settings["pretrained"]:
            return record
    except (ValueError, TypeError, KeyError):
        pass
    raise DataError(f"{path} is no record of a run; delete it, and the run is made again")
