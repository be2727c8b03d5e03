"""The settings of a training, with their help texts, units and ranges, and the settings file of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from detect.data import FOLDS_FILE, MIN_FOLDS
from detect.data.augmentation import Augmentation
from detect.data.readers import FORMAT_CHOICES
from detect.errors import UsageError
from detect.io.yaml_files import load_yaml, save_config
from detect.models.zoo import BACKBONES, HEADS, TIMM, TRAINED_DETECTORS, check_trained_model
from detect.options import (
    check_run_name,
    device_option,
    fields_of,
    from_yaml_values,
    imgsz_option,
    max_detections_option,
    option,
    output_dir_option,
    text_places,
)
from detect.training.resume import AUGMENTATION, SETTINGS_FILE, translate_settings

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "multistep")
ANCHORS = ("fitted", "default")
NORMS = ("frozen", "batch")
TRACKERS = ("none", "wandb", "mlflow", "clearml")
METRICS = ("bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50", "loss")

# Settings that may change when a run is resumed.
RESUME_SETTINGS = ("epochs", "device", "workers", "report", "log", "quiet")
# ... and when a cross-validation is resumed, whose models are all trained for the same number of epochs.
RESUME_SETTINGS_OF_FOLDS = ("final_model", "device", "workers", "report", "log", "quiet")
# Settings that name locations or say how a run is executed. They do not affect what it learns.
_LOCATIONS = {
    *("data", "data_root", "backgrounds", "output_dir", "name"),
    *("device", "workers", "report", "log", "quiet", "resume"),
}
_OF_BACKBONE_MODELS = ("backbone", "head", "fpn_channels")


FOLDS_HELP = (
    "cross-validation: divide train and val into this number of folds, train a model per fold on the images of the"
    " others, and test it on the images of its fold"
)
FINAL_MODEL_HELP = "after the folds, train a model on the images of all folds, for the same number of epochs"


@dataclass
class _DataModelSchedule:
    """Settings of data, model and schedule: a class of its own, so that ``Augmentation`` follows it in the help."""

    data: str = option("sample", "dataset: a folder, a name in datasets/ or a YAML file", metavar="NAME|PATH")
    data_root: Path | None = option(
        None, "folder with the files of a named dataset (default: datasets/NAME)", metavar="DIR"
    )
    format: str = option("auto", "annotation format, if a folder holds several", choices=FORMAT_CHOICES)
    backbone: str = option("mobilenet_v2", "backbone under the FPN", choices=(*BACKBONES, f"{TIMM}NAME"))
    head: str | None = option(
        None, "detection head (default: maskrcnn if the dataset has masks, else fasterrcnn)", choices=HEADS
    )
    fpn_channels: int | None = option(None, "channels of the FPN (default: that of the backbone)", low=8)
    model: str | None = option(
        None,
        f"a whole torchvision model instead of backbone and head: {', '.join(TRAINED_DETECTORS)}",
        metavar="NAME",
    )
    pretrained: str = option(
        "auto",
        "initial weights: auto (published weights), none (random weights), balloon (the included balloon detector),"
        " a weights file or its URL",
        metavar="auto|none|balloon|FILE|URL",
    )
    epochs: int | None = option(
        None, "number of passes over the training images (default: fitted to the size of the dataset)", low=1
    )
    batch_size: int = option(2, "images per batch in each process", low=1)
    accumulate: int = option(
        1, "batches per optimizer step; has the effect of a larger batch with the memory of one", low=1
    )
    optimizer: str = option("sgd", "optimizer", choices=OPTIMIZERS)
    lr: float | None = option(None, "peak learning rate (default: fitted to the number of images per step)", low=1e-9)
    schedule: str = option("cosine", "learning rate schedule after the warm-up", choices=SCHEDULES)
    warmup_steps: int | None = option(
        None, "steps of linear learning rate warm-up (default: fitted to the number of steps)", low=0
    )
    weight_decay: float = option(1e-4, "weight decay; not applied to biases and norms", low=0)
    clip: float = option(10.0, "maximum norm of the gradients; 0 for no limit", low=0)
    imgsz: int | None = imgsz_option(
        "short side of the resized images in pixels; the long side is at most 1.666 times that (default: fitted to the"
        " size of the objects; whole models keep their own, at most 480)"
    )
    max_detections: int | None = max_detections_option(
        "maximum number of detections per image; a value above 100 given here also replaces COCO's limit of 100 scored"
        " detections per image and class in validation (default: 100, or more to fit the most crowded image)"
    )
    anchors: str | None = option(
        None,
        "anchor boxes (default: fitted to the objects, unless the initial weights have their own)",
        choices=ANCHORS,
    )
    repeat_threshold: float | None = option(
        None,
        "classes that occur in less than this fraction of the images are oversampled; 0 for none (default: fitted to"
        " the classes)",
        low=0,
        high=1,
    )


@dataclass
class TrainConfig(Augmentation, _DataModelSchedule):
    """Settings of ``detect.train`` and of train.py.

    None stands for a default that is fitted to the dataset or the machine when training starts, or for a feature that
    is not used; the help of each setting says which.
    """

    backgrounds: str | None = option(
        None, "folder or pattern of images without objects, to reduce false positives (default: none)", metavar="DIR"
    )
    background_ratio: float | None = option(
        None,
        "maximum number of images without objects per image with objects in an epoch, drawn anew in each epoch"
        " (default: all images)",
        low=0,
    )
    ema: float = option(
        0.0,
        "decay of an exponential moving average of the weights, such as 0.998, which is then evaluated and saved;"
        " 0 for none",
        low=0,
        high=0.99999,
    )
    freeze: int | None = option(
        None,
        "number of early backbone stages that keep their initial weights (default: fitted to the size of the dataset)",
        low=0,
        high=4,
    )
    norm: str | None = option(
        None,
        "batch norms: frozen keeps the statistics of the initial weights, batch uses those of each batch (default:"
        " fitted to the batch size)",
        choices=NORMS,
    )
    amp: bool | None = option(
        None,
        "mixed precision: layers in bfloat16, or in float16 if the device lacks bfloat16 (default: on if the device"
        " has bfloat16)",
    )
    metric: str = option(
        "bbox_AP", "metric on val that selects the best epoch: the highest value, of loss the lowest", choices=METRICS
    )
    patience: int = option(0, "stop after this number of epochs without a better one; 0 for never", low=0)
    max_skipped_steps: int = option(
        5,
        "steps with a non-finite loss or gradient are skipped; more than this number in an epoch end the training",
        low=0,
    )
    workers: int | None = option(None, "loader processes (default: fitted to the number of cores)", low=0)
    device: str = device_option()
    seed: int = option(0, "seed of all random numbers", low=0, high=2**32 - 1)
    resume: Path | None = option(None, "folder of a run to continue with its own settings", metavar="RUN")
    name: str | None = option(None, "folder name of the run (default: DATA_MODEL, numbered if taken)")
    output_dir: Path = output_dir_option("outputs/train")
    report: bool = option(
        True, "write report.html at the end: what the best epoch gets wrong on val, likely causes and thresholds"
    )
    log: str = option(
        "none",
        "also log the run to an experiment tracker, through its own library, which is an extra of this package",
        choices=TRACKERS,
    )
    quiet: bool = option(False, "no progress bars")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model is not None:
            check_trained_model(self.model)
        check_run_name(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, without ``resume``, for checkpoints."""
        values = {field.name: getattr(self, field.name) for field in fields(TrainConfig)}
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if k != "resume"}

    def settings_to_compare(self) -> dict[str, Any]:
        """Return the settings that must not change when a run is resumed, with all strengths of the augmentation."""
        learning = {name: value for name, value in self.to_dict().items() if name not in _LOCATIONS}
        return learning | {AUGMENTATION + name: value for name, value in self.strengths().items()}

    def save(self, path: Path, reasons: Mapping[str, str]) -> None:
        """Write the settings as YAML; a fitted default has its reason in a comment. Raises DiskError."""
        # With a whole model, backbone and head must not be given when the file is read again.
        save_config(self, path, {"resume", *(_OF_BACKBONE_MODELS if self.model else ())}, reasons)


@dataclass
class CrossValidationConfig(TrainConfig):
    """Settings of ``detect.cross_validate`` and of train.py with ``folds``: those of a training, and of the folds."""

    folds: int = option(5, FOLDS_HELP, low=MIN_FOLDS, metavar="K")
    final_model: bool = option(False, FINAL_MODEL_HELP)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience:
            raise UsageError("`folds` excludes `patience`: all folds are trained for the same number of epochs")

    def of_one_run(self, **changes: Any) -> TrainConfig:
        """Return the settings of the training of one fold, with ``changes``."""
        return TrainConfig(**{field.name: getattr(self, field.name) for field in fields(TrainConfig)} | changes)


C = TypeVar("C", bound=TrainConfig)


def complete_config(config: TrainConfig, given: Iterable[str], config_class: type[C]) -> C:
    """Return a config as it was given, or the config of the run that it resumes.

    config: has all settings of ``config_class``, and may have more.  given: names of the settings that the user gave.
    Raises UsageError for settings that exclude each other, and for a folder that is not a run.
    """
    if config.resume:
        return resumed_config(config.resume, {name: getattr(config, name) for name in given}, config_class)
    if config.model and set(given) & set(_OF_BACKBONE_MODELS):
        raise UsageError("`model` selects a whole model; it excludes `backbone`, `head` and `fpn_channels`")
    return config_class(**{field.name: getattr(config, field.name) for field in fields(config_class)})


def resumed_config(folder: Path, changes: Mapping[str, Any], config_class: type[C]) -> C:
    """Return the config in the settings.yaml of a run, with ``changes`` to settings that may change.

    Raises UsageError for other changes, for a folder that is not a run, for a fold of a cross-validation, and as
    ``saved_config`` does.
    """
    if not folder.exists():
        raise UsageError(
            f"`resume={str(folder)!r}` does not exist; it is the folder of a run, such as outputs/train/NAME"
        )
    changeable = RESUME_SETTINGS_OF_FOLDS if config_class is CrossValidationConfig else RESUME_SETTINGS
    if unchangeable := sorted(set(changes) - {"resume", *changeable}):
        raise UsageError(
            f"`resume` continues with the settings of the run; {_quoted(unchangeable)} cannot be changed, only "
            f"{_quoted(changeable)}"
        )
    if (folder.parent / FOLDS_FILE).is_file():
        raise UsageError(
            f"`resume={str(folder)!r}` is a part of a cross-validation; continue all of it with"
            f" `resume={str(folder.parent)!r}`"
        )
    if (folder / FOLDS_FILE).is_file() != (config_class is CrossValidationConfig):
        raise UsageError(
            f"`resume={str(folder)!r}` is {'' if (folder / FOLDS_FILE).is_file() else 'not '}the folder of a"
            " cross-validation, which detect.cross_validate continues"
        )
    return saved_config(folder, changes, config_class)


def saved_config(folder: Path, changes: Mapping[str, Any], config_class: type[C]) -> C:
    """Return the config in the settings.yaml of a run, with ``changes`` and ``resume``.

    Names of earlier versions are translated. Raises UsageError for a folder that is not a run and invalid settings.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        if (folder.parent / SETTINGS_FILE).is_file():
            raise UsageError(
                f"`resume={str(folder)!r}` is a file of a run; use its folder: `resume={str(folder.parent)!r}`"
            )
        raise UsageError(
            f"`resume={str(folder)!r}` is not the folder of a run, such as outputs/train/NAME: it has no {path.name}"
        )
    try:
        known = fields_of(config_class)
        values = from_yaml_values(known, translate_settings(load_yaml(path, text_places(known))))
        return config_class(**values | dict(changes) | {"resume": folder})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
