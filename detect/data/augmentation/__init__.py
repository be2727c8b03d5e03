"""Data augmentation for training: the table of transforms, their strengths and the presets.

How to add an augmentation: write one file in this folder with a class derived from ``transform.Transform`` (a function
of one image and its ground truth) or from ``albumentations_step.AlbumentationsTransform`` (albumentations transforms),
and add one field to ``Augmentation`` below. The presets, the setting of ``train.py`` (``--NAME X``), its help text,
the line that training prints and the order of application follow from that field.

Interface for the rest of the package:

``PRESETS["strong"]``
    An ``Augmentation``: a frozen dataclass with the strength of every transform.
``@strength_settings(after="aug")``
    Class decorator for a config dataclass, below ``@dataclass``. It inserts one optional setting per transform after
    the field ``aug``: ``jitter: list[float] | None``, ``mosaic: float | None``, ``color: str | None`` and so on.
``augmentation_of(config)``
    The preset ``config.aug`` with the strengths that ``config`` sets itself. Raises UsageError for an invalid
    strength.
``pipeline.TrainTransform(imgsz, augmentation, epochs)``
    Applies an ``Augmentation`` to images. ``TrainTransform.describe(has_masks=...)`` lists the active transforms.

This module imports neither numpy nor albumentations, so that ``train.py --help`` stays fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from detect.errors import UsageError
from detect.options import option

COLORS = ("none", "mild", "strong")
PRESET_NAMES = ("light", "default", "strong")

C = TypeVar("C")


def strength(
    transform: str,
    help: str,
    *,
    off: Any = 0.0,
    light: Any = None,
    default: Any = None,
    strong: Any = None,
    low: float | None = 0,
    high: float | None = 1,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Return a field of ``Augmentation``.

    transform: module of this folder and class, such as ``cutout.Cutout``. The class is built with the strength.
    help: meaning of the value, for ``train.py --help``.
    off: value with which the transform changes nothing.
    light, default, strong: value in each preset; None switches the transform off.
    low, high: range of a number, both ends included.  choices: the allowed values of a name.
    """
    values = {"light": light, "default": default, "strong": strong}
    presets = {name: off if value is None else value for name, value in values.items()}
    limits = {"low": None if choices else low, "high": None if choices else high, "choices": choices}
    return dataclasses.field(
        default=off, metadata={"transform": transform, "help": help, "presets": presets, **limits}
    )


@dataclass(frozen=True)
class Augmentation:
    """Strength of every training augmentation, in the order of application; the defaults switch all of them off.

    ``detect.data.augmentation.pipeline.TrainTransform`` applies them. Raises UsageError for an invalid range.
    """

    jitter: tuple[float, float] = strength(
        "jitter.Jitter",
        "scale jitter: range of the factor on imgsz; an image enlarged beyond imgsz is cropped at random",
        off=(1.0, 1.0), light=(0.8, 1.25), default=(0.6, 1.25), strong=(0.5, 2.0), low=0.05, high=8,
    )  # fmt: skip
    mosaic: float = strength(
        "mosaic.Mosaic",
        "probability that an image is combined with three others; not in the last fifth of the epochs",
        strong=0.5,
    )
    copy_paste: float = strength(
        "copy_paste.CopyPaste",
        "probability that objects of another image are pasted in; needs masks; not applied to mosaics",
        strong=0.5,
    )
    cutout: float = strength(
        "cutout.Cutout",
        "probability that rectangles of noise cover parts of the image",
        strong=0.5,
    )
    flip: float = strength("flip.Flip", "probability of a horizontal flip", light=0.5, default=0.5, strong=0.5)
    # None by default: changing colors improved the AP on neither dataset of docs/results.md.
    color: str = strength(
        "color.Color",
        "change of hue and saturation; strong: any hue, or grayscale, for classes that color does not distinguish",
        off="none", strong="strong", choices=COLORS,
    )  # fmt: skip
    # At most 0.25: a larger change turns bright backgrounds white.
    brightness_contrast: float = strength(
        "brightness_contrast.BrightnessContrast",
        "largest change of brightness and contrast, as a fraction of their range, in half of the images",
        light=0.1, default=0.1, strong=0.25,
    )  # fmt: skip
    gamma: float = strength("gamma.Gamma", "probability of a gamma correction", strong=0.2)
    blur: float = strength("blur.Blur", "probability of a Gaussian blur", strong=0.15)
    noise_jpeg: float = strength(
        "noise_jpeg.NoiseJpeg",
        "probability of Gaussian noise or JPEG artefacts",
        strong=0.15,
    )

    def __post_init__(self) -> None:
        for name, value in self.strengths().items():
            if isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
                raise UsageError(
                    f"`{name}={as_text(value)}` must be two numbers, the smaller one first, such as 0.6 1.25"
                )

    def strengths(self) -> dict[str, Any]:
        """Return the strength of each transform by name, in the order of application."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def _preset(name: str) -> Augmentation:
    return Augmentation(**{field.name: field.metadata["presets"][name] for field in dataclasses.fields(Augmentation)})


PRESETS: Mapping[str, Augmentation] = {name: _preset(name) for name in PRESET_NAMES}


def strength_settings(after: str) -> Callable[[type[C]], type[C]]:
    """Return a class decorator that adds one optional setting per augmentation behind the field ``after``.

    Apply it below ``@dataclass``. A setting that is None keeps the strength of the preset.
    """

    def decorate(config_class: type[C]) -> type[C]:
        annotations: dict[str, Any] = {}
        for name, kind in config_class.__annotations__.items():
            annotations[name] = kind
            if name == after:
                for field in dataclasses.fields(Augmentation):
                    annotations[field.name] = _setting_type(field.default)
                    setattr(config_class, field.name, _setting(field))
        config_class.__annotations__ = annotations
        return config_class

    return decorate


def _setting_type(off: Any) -> Any:
    if isinstance(off, tuple):
        return list[float] | None
    return type(off) | None


def _setting(field: dataclasses.Field[Any]) -> Any:
    presets = ", ".join(f"{name} {as_text(value)}" for name, value in field.metadata["presets"].items())
    limits = {key: field.metadata[key] for key in ("low", "high", "choices")}
    return option(None, f"{field.metadata['help']} (default: that of aug: {presets})", **limits)


def as_text(value: Any) -> str:
    """Return a strength as the user types it: ``0.5``, ``0.6 1.25`` or ``strong``."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(as_text, value))
    return value if isinstance(value, str) else f"{value:g}"


def augmentation_of(config: Any) -> Augmentation:
    """Return the preset ``config.aug`` with the strengths that ``config`` sets itself.

    config: instance of a dataclass with ``strength_settings``. Raises UsageError for an invalid range.
    """
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(Augmentation):
        value = getattr(config, field.name)
        if value is not None:
            changes[field.name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(PRESETS[config.aug], **changes)
