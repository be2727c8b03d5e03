"""Settings of benchmark.py, one class for each command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.variants import VARIANTS
from detect.cli.settings.shared import DATA, DATA_ROOT, model_option
from detect.data.readers import FORMAT_CHOICES
from detect.errors import UsageError
from detect.models.zoo import BACKBONES, DETECTORS, TIMM, check_model, check_trained_model, is_openvino_folder
from detect.options import HIGHEST_PROPOSALS, device_option, imgsz_option, option
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
    return option(default, "number of repetitions; the median is reported", low=1)


def _pretrained(default: str) -> Any:
    return option(default, "weights to start from, as train.py takes them", metavar="auto|none|balloon|FILE|URL")


def _quiet() -> Any:
    return option(False, "hide progress bars")


@dataclass(kw_only=True)
class InferenceSettings:
    """Measure speed, memory and AP of a model beside torchvision's own code, in every way of running it on a CPU."""

    model: str = model_option("; a torchvision model gets random weights if its own cannot be downloaded")
    imgsz: int | None = imgsz_option("short side of the images in pixels (default: the model's)")
    variants: list[str] | None = option(
        None, "what to measure beside torchvision's code (default: all that run here)", choices=tuple(VARIANTS)
    )
    proposals: int = option(300, "number of proposals per image of the fast variants", low=1, high=HIGHEST_PROPOSALS)
    data: str | None = option(
        None, f"{DATA}, on whose val and test splits AP is measured (default: not measured)", metavar="NAME|PATH"
    )
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    format: str = option("auto", "annotation format, for a folder that holds several", choices=FORMAT_CHOICES)
    images: int = option(4, "number of images that are timed, of val or of input/", low=1)
    rounds: int = _rounds(5)
    plot: Path | None = option(None, "draw the times as a bar chart (default: none)", metavar="FILE.png")
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        check_model(self.model)
        if is_openvino_folder(self.model) or self.model.lower().endswith(".onnx"):
            raise UsageError(f"`model`: {self.model} is exported; give its checkpoint, which is exported for the test")
        if self.data is None and self.data_root is not None:
            raise UsageError("`data_root` is for `data`, which is missing")


@dataclass(kw_only=True)
class ModelsSettings:
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
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    format: str = option("auto", "annotation format, for a folder that holds several", choices=FORMAT_CHOICES)
    pretrained: str = option(
        "balloon", "weights to start from, as train.py takes them", metavar="auto|none|balloon|FILE|URL"
    )
    imgsz: int = _imgsz("short side of the images in pixels")
    references: Path | None = option(
        None,
        "copy of torchvision's references/detection, whose own loop is then the baseline (default: a rewritten one)",
        metavar="DIR",
    )
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
class EvaluateSettings:
    """Measure the time of COCO's metrics and of their intervals, beside pycocotools and faster-coco-eval."""

    images: int = option(5000, "number of simulated images", low=2, high=1_000_000)
    classes: int = option(80, "number of classes", low=1, high=10_000)
    detections: int = option(100, "detections per image", low=1, high=1000)
    rounds: int = _rounds(3)
    json: Path | None = _json()
    quiet: bool = _quiet()


@dataclass(kw_only=True)
class IntervalsSettings:
    """Simulate test sets, and measure how many 95 % intervals of AP contain the true value."""

    images: list[int] = option([13, 50, 200], "numbers of images of the simulated test sets", low=2, high=10_000)
    simulations: int = option(500, "number of simulated test sets of each kind", low=1)
    json: Path | None = _json()
    quiet: bool = _quiet()


@dataclass(kw_only=True)
class LabelsSettings:
    """Plant annotation errors, and measure how many of them a model finds with `doctor.py check --model`."""

    model: str = model_option("; it should not have been trained on these splits")
    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, DATA_ROOT, metavar="DIR")
    format: str = option("auto", "annotation format, for a folder that holds several", choices=FORMAT_CHOICES)
    splits: list[str] = option(["val", "test"], "splits in which errors are planted", choices=("train", "val", "test"))
    fraction: float = option(0.1, "planted errors of each kind, as a fraction of the annotations", low=0.01, high=0.25)
    imgsz: int | None = imgsz_option("short side of images in pixels (default: the checkpoint's)")
    rounds: int = option(10, "number of repetitions with other planted errors; their mean is reported", low=1)
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        check_model(self.model)


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
class VideoSettings:
    """Measure the frame rate of detect_video.py beside that of its detector alone."""

    model: str = model_option()
    input: str = option("input/balloons.mp4", "the video file", metavar="FILE")
    imgsz: int | None = imgsz_option("short side of the images in pixels (default: the checkpoint's)")
    max_frames: int | None = option(None, "number of frames (default: the whole video)", low=1)
    batch_size: int | None = option(None, "number of frames per forward pass (default: 8 on a GPU, else 1)", low=1)
    rounds: int = _rounds(3)
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()

    def __post_init__(self) -> None:
        check_model(self.model)


@dataclass(kw_only=True)
class _TrainedRuns:
    data_root: Path | None = option(None, "folder that holds balloon/ and bccd/ (default: datasets)", metavar="DIR")
    pretrained: str = option(
        "auto", "weights to start from, as train.py takes them", metavar="auto|none|balloon|FILE|URL"
    )
    device: str = device_option()
    json: Path | None = _json()
    quiet: bool = _quiet()


@dataclass(kw_only=True)
class ResultsSettings(_TrainedRuns):
    """Train and score the runs of docs/results.md; finished runs are kept, interrupted ones continue."""

    runs: list[str] | None = option(
        None, "runs whose names begin with NAME, such as balloon_default (default: all)", metavar="NAME"
    )
    records: Path = option(Path("docs/results"), "folder with one file for each finished run", metavar="DIR")
    output_dir: Path = option(Path("outputs/results"), "folder of the training runs", metavar="D")


@dataclass(kw_only=True)
class IdeasSettings(_TrainedRuns):
    """Train with ideas from the literature, a third of the default steps on small images; finished runs are kept."""

    ideas: list[str] | None = option(None, "ideas to try, such as giou (default: all)", metavar="NAME")
    seeds: int = option(1, "number of seeds of each idea", low=1)
    records: Path = option(Path("docs/results/ideas"), "folder with one file for each finished run", metavar="DIR")
    output_dir: Path = option(Path("outputs/ideas"), "folder of the training runs", metavar="D")


@dataclass(kw_only=True)
class StartSettings:
    """Measure time and memory until the first step of a training, on a generated dataset of COCO's size."""

    images: int = option(118_000, "number of training images", low=1, high=10_000_000)
    objects: int = option(860_000, "number of annotations of the training images", low=1, high=10_000_000)
    rounds: int = _rounds(3)
    json: Path | None = _json()
    quiet: bool = _quiet()
