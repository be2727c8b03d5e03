"""The settings of train.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from detect.cli.settings.shared import DATA, FORMATS
from detect.data.augmentation import COLORS, PRESETS, Augmentation
from detect.errors import UsageError
from detect.io.yaml_files import load_yaml
from detect.models.zoo import BACKBONES, HEADS, TIMM, TRAINED_DETECTORS, check_trained_model
from detect.options import check_run_name, device_option, fields_of, from_yaml_values, option, output_dir_option

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "multistep")
ANCHORS = ("fitted", "default")
NORMS = ("frozen", "batch")
METRICS = ("bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50", "loss")


def _preset(name: str) -> str:
    """Words for the help: the default of a part of the augmentation."""
    values = (getattr(preset, name) for preset in PRESETS.values())
    shown = (" ".join(map(_shown, value if isinstance(value, tuple) else [value])) for value in values)
    return f"(default: as --aug {', '.join(map(' '.join, zip(PRESETS, shown, strict=True)))})"


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@dataclass
class TrainSettings:
    """train.py"""

    data: str = option("sample", DATA, metavar="NAME|PATH")
    data_root: Path | None = option(None, "folder of a NAME's files (default: datasets/NAME)", metavar="DIR")
    format: str = option("auto", "of the annotations in a folder that holds several", choices=FORMATS)
    backbone: str = option("mobilenet_v2", "backbone under a feature pyramid", choices=(*BACKBONES, f"{TIMM}NAME"))
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
    epochs: int | None = option(
        None, "how often every training image is seen (default: fitted to their number)", low=1
    )
    batch_size: int = option(2, "images that go through the model together, in each process", low=1)
    accumulate: int = option(1, "batches a step: as a larger batch, in the memory of one", low=1)
    optimizer: str = option("sgd", "how to step", choices=OPTIMIZERS)
    lr: float | None = option(None, "highest learning rate (default: fitted to the images of a step)", low=1e-9)
    schedule: str = option("cosine", "learning rate after the warm-up", choices=SCHEDULES)
    warmup_steps: int | None = option(None, "steps of linear warm-up (default: fitted to their number)", low=0)
    weight_decay: float = option(1e-4, "decay of weights; biases and norms have none", low=0)
    clip: float = option(10.0, "largest norm of the gradients, 0 for no limit", low=0)
    imgsz: int | None = option(
        None,
        "short side in pixels; the long side is at most 1.666 times that (default: fitted to the objects; whole models"
        " keep theirs, up to 480)",
        low=32,
        high=8192,
    )
    anchors: str | None = option(
        None, "default: fitted to the objects, where the weights bring no anchors of their own", choices=ANCHORS
    )
    rare: float | None = option(
        None,
        "classes on a smaller share of the images than this come more often (default: fitted to the classes)",
        low=0,
        high=1,
    )
    aug: str = option(
        "default", "how far images are changed in training; the next five flags change parts of it", choices=PRESETS
    )
    jitter: list[float] | None = option(
        None,
        f"range of the factor on imgsz; beyond 1 a random window is kept {_preset('jitter')}",
        low=0.05,
        high=8,
    )
    mosaic: float | None = option(
        None,
        f"how often four images become one, 0..1; not in the last fifth of the epochs {_preset('mosaic')}",
        low=0,
        high=1,
    )
    copy_paste: float | None = option(
        None,
        "how often objects of another image are pasted into one that is no mosaic, 0..1; needs masks in the data "
        + _preset("copy_paste"),
        low=0,
        high=1,
    )
    cutout: float | None = option(
        None, f"how often rectangles of noise hide parts of an image, 0..1 {_preset('cutout')}", low=0, high=1
    )
    color: str | None = option(
        None, f"how far colors change; strong: to any hue, or none {_preset('color')}", choices=COLORS
    )
    backgrounds: str | None = option(
        None, "train on images without objects too, from this folder or pattern (default: none)", metavar="DIR"
    )
    ema: float = option(
        0.0, "score and keep a moving average of the weights with this decay, such as 0.998", low=0, high=0.99999
    )
    freeze: int | None = option(
        None,
        "stages of the backbone that keep the weights they start with (default: fitted to the data)",
        low=0,
        high=4,
    )
    norm: str | None = option(
        None,
        "batch norms keep the statistics that came with the weights, or take each batch's (default: fitted to the"
        " images of a batch)",
        choices=NORMS,
    )
    amp: bool | None = option(
        None, "layers in 16 bits (default: where the device has bfloat16); bfloat16, or float16 where it is missing"
    )
    metric: str = option(
        "bbox_AP", "the best epoch has the highest of this on val, or the lowest loss", choices=METRICS
    )
    patience: int = option(0, "stop after so many epochs without a better one, 0 for never", low=0)
    skip_steps: int = option(
        5, "leave out so many steps of an epoch whose loss is not finite, and keep them for --replay", low=0
    )
    workers: int | None = option(None, "loader processes (default: by the number of cores)", low=0)
    device: str = device_option()
    seed: int = option(0, "of everything random", low=0, high=2**32 - 1)
    resume: Path | None = option(None, "go on with the run in this folder, with its settings", metavar="RUN")
    overfit: int | None = option(
        None, "no training, but a test: learn so many images by heart, or say what is wrong", low=1, metavar="N"
    )
    replay: Path | None = option(None, "no training: take the step in this file again, that failed", metavar="FILE")
    name: str | None = option(None, "the run's folder (default: DATA_MODEL, numbered when taken)")
    output_dir: Path = output_dir_option("outputs/train")
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        if self.jitter is not None and (len(self.jitter) != 2 or self.jitter[0] > self.jitter[1]):
            shown = " ".join(map(str, self.jitter))
            raise UsageError(f"--jitter {shown} must be two numbers, the smaller one first, such as 0.6 1.25")
        if self.model is not None:
            check_trained_model(self.model)
        check_run_name(self.name)

    @property
    def augmentation(self) -> Augmentation:
        """The preset ``aug``, with those of its parts that are given."""
        preset = PRESETS[self.aug]
        return replace(
            preset,
            jitter=preset.jitter if self.jitter is None else (self.jitter[0], self.jitter[1]),
            mosaic=preset.mosaic if self.mosaic is None else self.mosaic,
            copy_paste=preset.copy_paste if self.copy_paste is None else self.copy_paste,
            cutout=preset.cutout if self.cutout is None else self.cutout,
            color=preset.color if self.color is None else self.color,
        )


def settings_of_run(settings: TrainSettings, given: set[str]) -> TrainSettings:
    """Those in settings.yaml of the run ``settings.resume``, and what may differ: epochs, device, workers, quiet."""
    assert settings.resume
    stray = sorted(given - {"resume", "epochs", "device", "workers", "quiet"})
    if stray:
        flags = ", ".join("--" + name.replace("_", "-") for name in stray)
        raise UsageError(
            f"--resume takes the run's own settings; {flags} cannot be changed (--epochs, --device, --workers and"
            " --quiet can)"
        )
    kept = settings.resume / "settings.yaml"
    if not kept.is_file():
        if (settings.resume.parent / "settings.yaml").is_file():
            raise UsageError(f"--resume takes a run's folder, and not a file in it: --resume {settings.resume.parent}")
        raise UsageError(
            f"--resume {settings.resume}: not a run's folder, such as outputs/train/NAME; it has no {kept.name}"
        )
    former = TrainSettings(**from_yaml_values(fields_of(TrainSettings), load_yaml(kept)))
    return replace(former, **{name: getattr(settings, name) for name in given})
