"""The settings of each script: every default of the project, once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.flags import REQUIRED, option, parse
from detect.models.names import check_model, check_trained
from detect.models.zoo import BACKBONES, BUNDLED, DETECTORS, HEADS, TIMM, TRAINED_DETECTORS

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "multistep")
COLOURS = ("default", "strong")
FORMATS = ("auto", "coco", "csv", "labelme", "via", "voc", "yolo")  # the readers', which take longer to import
TARGETS = ("coco", "voc", "yolo", "via")  # the exporters'
_DATA = "data set: a folder, a name in datasets/ or a YAML file"


def _model(for_what: str = "") -> Any:
    names = ", ".join((*BUNDLED, *DETECTORS))
    return option(
        "balloon", f"{for_what}{names}, or a checkpoint: a file, or its web address", metavar="NAME|FILE|URL"
    )


def _device() -> Any:
    return option("auto", "where to compute", metavar="auto|cpu|cuda|cuda:0|mps")


def _output_dir(default: str) -> Any:
    return option(Path(default), "where the runs' folders go", metavar="D")


@dataclass
class TrainSettings:
    """train.py"""

    data: str = option("sample", _DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    backbone: str = option("mobilenet_v2", "trunk under a feature pyramid", choices=(*BACKBONES, f"{TIMM}NAME"))
    head: str | None = option(None, "default: maskrcnn where the data has masks, else fasterrcnn", choices=HEADS)
    fpn_channels: int | None = option(None, "channels of the pyramid (default: the backbone's own)", low=8)
    model: str | None = option(
        None,
        f"a whole torchvision model, in place of backbone and head; one of {', '.join(TRAINED_DETECTORS)}",
        metavar="NAME",
    )
    pretrained: str = option(
        "auto",
        "weights to start from: the published ones, none, a file or its https:// address",
        metavar="auto|none|FILE|URL",
    )
    epochs: int = option(20, "how often every training picture is seen", low=1)
    batch_size: int = option(2, "pictures a step", low=1)
    optimizer: str = option("sgd", "how to step", choices=OPTIMIZERS)
    lr: float | None = option(
        None, "highest learning rate (default: 0.005, or 0.0001 for adamw, times --batch-size)", low=0
    )
    schedule: str = option("cosine", "learning rate after the warm-up", choices=SCHEDULES)
    warmup_steps: int = option(100, "steps of linear warm-up", low=0)
    weight_decay: float = option(1e-4, "decay of weights; biases and norms have none", low=0)
    clip: float = option(10.0, "largest norm of the gradients, 0 for no limit", low=0)
    imgsz: int | None = option(
        None,
        "short side in pixels; the long side is at most 1.666 times that (default: 480, for mobilenet_320 320)",
        low=32,
    )
    jitter: list[float] = option(
        [0.6, 1.25], "range of the factor on imgsz in training; beyond 1 a random window is kept", low=0.05, high=8
    )
    copy_paste: float = option(
        0.0, "how often objects of another picture are pasted in, 0..1; needs masks", low=0, high=1
    )
    backgrounds: str | None = option(
        None, "train on pictures without objects too, from this folder or pattern (default: none)", metavar="DIR"
    )
    colours: str = option(
        "default", "how far colours change in training; strong: to any hue, or none", choices=COLOURS
    )
    ema: float = option(
        0.0, "score and keep a moving average of the weights with this decay, such as 0.998", low=0, high=0.99999
    )
    freeze: int = option(0, "so many stages of the trunk keep the weights they start with", low=0, high=4)
    workers: int | None = option(None, "loader processes (default: by the number of cores)", low=0)
    device: str = _device()
    seed: int = option(0, "of everything random", low=0, high=2**32 - 1)
    resume: Path | None = option(None, "go on with the run in this folder, with its settings", metavar="RUN")
    name: str | None = option(None, "the run's folder (default: DATA_MODEL, numbered when taken)")
    output_dir: Path = _output_dir("outputs/train")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        if len(self.jitter) != 2 or self.jitter[0] > self.jitter[1]:
            shown = " ".join(map(str, self.jitter))
            raise UsageError(f"--jitter {shown} must be two numbers, the smaller one first, such as 0.6 1.25")
        if self.model is not None:
            check_trained(self.model)

    @property
    def short_side(self) -> int:
        """``imgsz``, or its default: a model made for small pictures keeps its size."""
        return self.imgsz or (min(480, DETECTORS[self.model].short) if self.model else 480)

    @property
    def learning_rate(self) -> float:
        """``lr``, or its default."""
        if self.lr is not None:
            return self.lr
        return 0.0001 * self.batch_size if self.optimizer == "adamw" else 0.005 * self.batch_size


def settings_of_run(settings: TrainSettings, given: set[str]) -> TrainSettings:
    """The settings in settings.yaml of the run ``settings.resume``, with what may differ: epochs, device, workers."""
    assert settings.resume
    stray = sorted(given - {"resume", "epochs", "device", "workers", "quiet"})
    if stray:
        flags = ", ".join("--" + name.replace("_", "-") for name in stray)
        raise UsageError(f"--resume takes the run's own settings; {flags} cannot be changed (--epochs, --device can)")
    former, _ = parse(TrainSettings, "", ["--config", str(settings.resume / "settings.yaml")])
    return replace(former, **{name: getattr(settings, name) for name in given})


@dataclass
class EvaluateSettings:
    """evaluate.py"""

    model: str = _model()
    data: str = option("sample", _DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    split: str = option("test", "train, val or test", choices=("train", "val", "test"))
    imgsz: int | None = option(None, "short side in pixels (default: the checkpoint's)", low=32)
    device: str = _device()
    name: str | None = option(None, "the run's folder (default: MODEL_DATA_SPLIT, numbered when taken)")
    output_dir: Path = _output_dir("outputs/evaluate")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)


@dataclass(kw_only=True)
class _DetectSettings:
    input: str = option(REQUIRED, "what to look at")
    model: str = _model()
    imgsz: int | None = option(
        None,
        "resize the short side to N pixels, the long one to at most 1.666 N (default: the model's own)",
        low=32,
    )
    threshold: float | None = option(
        None, "leave out what scores less, 0..1 (default: the checkpoint's, else 0.5)", low=0, high=1
    )
    classes: list[str] | None = option(
        None, "only these classes, by name or category id (default: all)", metavar="NAME|ID"
    )
    device: str = _device()
    output_dir: Path = _output_dir("outputs/detect")
    name: str | None = option(
        None,
        "write to OUTPUT_DIR/NAME, or NAME_2, NAME_3 ... where that is taken (default: the input's name)",
        metavar="NAME",
    )
    quiet: bool = option(False, "print errors and the last line only")

    def __post_init__(self) -> None:
        check_model(self.model)


@dataclass(kw_only=True)
class DetectImageSettings(_DetectSettings):
    input: str = option(
        REQUIRED,
        "a picture, a folder of pictures or a quoted pattern such as 'in/*.jpg'",
        metavar="FILE|DIR|GLOB",
    )
    batch_size: int = option(1, "pictures that go through the model together", low=1)
    save_json: bool = option(False, "also write detections.json: every picture with its boxes, scores and masks")


@dataclass(kw_only=True)
class DetectVideoSettings(_DetectSettings):
    input: str = option(
        REQUIRED,
        "a video file, a camera's number, or a stream such as rtsp://...; of cameras and live streams, which do not"
        " wait, frames are left out while one is worked on; Ctrl-C ends them",
        metavar="FILE|N|URL",
    )
    stride: int = option(1, "look at every Nth frame and repeat its result on those between", low=1)
    max_frames: int | None = option(None, "stop after N frames (default: the whole video, or until Ctrl-C)", low=1)
    save_json: bool = option(False, "also write a .jsonl file: one line of JSON for each frame")


@dataclass
class DoctorSettings:
    """doctor.py"""

    command: str = option(REQUIRED, "what to do", choices=("check", "fix", "convert", "preview"), positional=True)
    data: str = option(REQUIRED, _DATA, metavar="DATA", positional=True)
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    to: str | None = option(None, "convert: the format to write", choices=TARGETS)
    output_dir: Path | None = option(
        None, "fix and convert: the new data set's folder; preview: where its folder goes", metavar="DIR"
    )
    split: str = option("train", "preview: of this split", choices=("train", "val", "test"))
    pictures: int = option(12, "preview: so many pictures", low=1, high=200)
    json: bool = option(False, "check: print everything as JSON")
    seed: int = option(0, "preview: which pictures and how they are augmented", low=0, high=2**32 - 1)
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        needs = {"fix": ("output_dir",), "convert": ("to", "output_dir")}.get(self.command, ())
        for name in needs:
            if getattr(self, name) is None:
                raise UsageError(f"doctor.py {self.command} needs --{name.replace('_', '-')}")


@dataclass
class BenchmarkSettings:
    """benchmark.py"""

    command: str = option(REQUIRED, "what to measure", choices=("inference", "data", "decoding"), positional=True)
    models: list[str] | None = option(
        None, "backbones and whole models, such as vovnet19 v2 (default: all, about 5 GB of memory)", metavar="NAME"
    )
    heads: bool = option(False, "a line for each head of a backbone, not for Mask R-CNN's alone")
    imgsz: int = option(480, "short side in pixels; models made for less keep their own", low=32)
    rounds: int | None = option(
        None, "how often everything is measured; the median counts (default: 5, of data 3, of decoding 10)", low=1
    )
    pictures: int = option(118_000, "data: so many pictures are listed", low=1, high=10_000_000)
    objects: int = option(
        860_000, "data: so many objects are annotated; a million take pycocotools 12 GB", low=1, high=10_000_000
    )
    data: str = option("balloon", f"decoding: {_DATA}", metavar="NAME|PATH")
    data_root: Path | None = option(None, "decoding: folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "decoding: of the annotations in a folder that holds several", choices=FORMATS)
    model: str = _model("decoding: ")
    device: str = _device()
    write: Path | None = option(
        None, "put the table between the two marker lines of this file (default: only print it)", metavar="FILE.md"
    )
    json: Path | None = option(None, "write every single measurement here (default: nowhere)", metavar="FILE.json")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        check_model(self.model)

    @property
    def num_rounds(self) -> int:
        """``rounds``, or its default."""
        return self.rounds or {"inference": 5, "data": 3, "decoding": 10}[self.command]
