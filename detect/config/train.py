"""The settings of train.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from detect.config.shared import DATA, FORMATS, device, output_dir
from detect.errors import UsageError
from detect.flags import option, parse
from detect.models.names import check_trained
from detect.models.zoo import BACKBONES, DETECTORS, HEADS, TIMM, TRAINED_DETECTORS

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "multistep")
COLOURS = ("default", "strong")


@dataclass
class TrainSettings:
    """train.py"""

    data: str = option("sample", DATA, metavar="NAME|PATH")
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
    device: str = device()
    seed: int = option(0, "of everything random", low=0, high=2**32 - 1)
    resume: Path | None = option(None, "go on with the run in this folder, with its settings", metavar="RUN")
    name: str | None = option(None, "the run's folder (default: DATA_MODEL, numbered when taken)")
    output_dir: Path = output_dir("outputs/train")
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
