"""Settings of benchmark.py, one class for each command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detect.cli.settings.shared import model_option
from detect.data.readers import FORMAT_CHOICES
from detect.errors import UsageError
from detect.models.zoo import BACKBONES, DETECTORS, TIMM, check_model, check_trained_model
from detect.options import device_option, option
from detect.text import unknown


def _json() -> Any:
    return option(None, "write every measurement to this file (default: nowhere)", metavar="FILE.json")


def _imgsz(help: str) -> Any:
    return option(480, help, low=32, high=8192)


def _check_models(names: list[str]) -> None:
    for name in names:
        if name not in BACKBONES and name not in DETECTORS and not name.startswith(TIMM):
            raise UsageError(unknown("model", name, (*BACKBONES, *DETECTORS)))


def _rounds(default: int) -> Any:
    return option(default, "number of repetitions; the median counts", low=1)


def _quiet() -> Any:
    return option(False, "hide progress bars")


@dataclass(kw_only=True)
class InferenceSettings:
    """Measure parameters, multiply-adds and time of models, side by side."""

    models: list[str] | None = option(
        None,
        "backbones and torchvision models, such as vovnet19 v2 (default: all; about 5 GB of memory)",
        metavar="NAME",
    )
    heads: bool = option(False, "measure a backbone with each head, not with Mask R-CNN only")
    imgsz: int = _imgsz("short side of the image in pixels; models made for less keep their own")
    rounds: int = _rounds(5)
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        _check_models(self.models or [])


@dataclass(kw_only=True)
class TrainSettings:
    """Measure speed and memory of training beside a loop like torchvision's references."""

    models: list[str] = option(["mobilenet_v2"], "backbones and torchvision models to train", metavar="NAME")
    data: str = option("balloon", "dataset: a folder, a name in datasets/ or a YAML file", metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "annotation format, for a folder that holds several", choices=FORMAT_CHOICES)
    pretrained: str = option("balloon", "weights to start from, as train.py takes them", metavar="auto|none|FILE|URL")
    imgsz: int = _imgsz("short side of the images in pixels")
    steps: int = option(24, "steps per round", low=1)
    rounds: int = _rounds(5)
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        _check_models(self.models)
        for name in set(self.models) & set(DETECTORS):
            check_trained_model(name)


@dataclass(kw_only=True)
class DataSettings:
    """Measure time and memory of reading annotations, beside pycocotools."""

    images: int = option(118_000, "number of images in the generated file", low=1, high=10_000_000)
    objects: int = option(
        860_000, "number of annotations in the file; pycocotools needs 12 GB for a million", low=1, high=10_000_000
    )
    rounds: int = _rounds(3)
    json: Path | None = _json()
    quiet: bool = _quiet()


@dataclass(kw_only=True)
class ServeSettings:
    """Measure the throughput of serve.py with one to many clients, beside a plain loop."""

    model: str = model_option()
    imgsz: int = _imgsz("short side of the images in pixels")
    clients: list[int] = option([1, 8, 64], "numbers of simultaneous clients, one after the other", low=1)
    seconds: float = option(30.0, "seconds of each measurement", low=0.1)
    rounds: int = _rounds(3)
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        check_model(self.model)


@dataclass(kw_only=True)
class ResultsSettings:
    """Train and score the runs of docs/results.md; finished runs are kept, interrupted ones continue."""

    runs: list[str] | None = option(
        None, "runs whose names begin with NAME, such as balloon_default (default: all)", metavar="NAME"
    )
    data_root: Path | None = option(None, "folder that holds balloon/ and bccd/ (default: datasets)", metavar="DIR")
    pretrained: str = option("auto", "weights to start from, as train.py takes them", metavar="auto|none|FILE|URL")
    device: str = device_option()
    records: Path = option(Path("docs/results"), "folder with one file for each finished run", metavar="DIR")
    output_dir: Path = option(Path("outputs/results"), "folder of the training runs", metavar="D")
    json: Path | None = _json()
    quiet: bool = _quiet()
