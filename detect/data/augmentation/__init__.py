"""Data augmentation for training: the settings, the presets, and one transform per file.

How to add an augmentation: add one field to ``Augmentation`` below and write one file in this folder. File and class
are named after the field (``noise_jpeg.NoiseJpeg``). The class is derived from ``transform.Transform`` (a function of
one image and its ground truth) or from ``albumentations_step.AlbumentationsTransform`` (albumentations transforms) and
is built with the value of the field, its strength: a probability, a largest change, a range or a name. The setting of
``train.py`` (``--NAME X``), its help text, the line that training prints and the order of application follow from the
field; ``PRESETS`` says which presets use it.

This module imports neither numpy nor albumentations, so that ``train.py --help`` stays fast.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from detect.errors import UsageError
from detect.options import option

COLORS = ("none", "mild", "strong")
PRESET_NAMES = ("light", "default", "strong")  # the presets that users can choose

_OFF = {"jitter": (1.0, 1.0), "color": "none"}  # strengths that change nothing; 0 for every other augmentation
# Preset -> strengths of the augmentations that it uses.
PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {"jitter": (0.8, 1.25), "flip": 0.5, "brightness_contrast": 0.1},
    "default": {"jitter": (0.6, 1.25), "flip": 0.5, "brightness_contrast": 0.1},
    "strong": {
        "jitter": (0.5, 2.0),
        "mosaic": 0.5,
        "copy_paste": 0.5,
        "cutout": 0.5,
        "flip": 0.5,
        "color": "strong",  # in no other preset: it improved the AP on neither dataset of docs/results.md
        "brightness_contrast": 0.25,  # a larger change turns bright backgrounds white
        "gamma": 0.2,
        "blur": 0.15,
        "noise_jpeg": 0.15,
    },
}


def preset_strength(preset: str, name: str) -> Any:
    """Return the strength of the augmentation ``name`` in a preset."""
    return PRESETS[preset].get(name, _OFF.get(name, 0.0))


def as_text(value: Any) -> str:
    """Return a strength as the user types it: ``0.5``, ``0.6 1.25`` or ``strong``."""
    if isinstance(value, (tuple, list)):
        return " ".join(map(as_text, value))
    return value if isinstance(value, str) else f"{value:g}"


def _help(name: str, meaning: str) -> str:
    """Return the help text of the field ``name``: its meaning, and its strength in each preset."""
    values = ", ".join(f"{preset} {as_text(preset_strength(preset, name))}" for preset in PRESET_NAMES)
    return f"{meaning} (default: set by `aug`: {values})"


def _from_0_to_1(name: str, meaning: str) -> Any:
    return option(None, _help(name, meaning), low=0, high=1)


@dataclass
class Augmentation:
    """Settings of the augmentation, in the order of application: a preset, and changes to it.

    A field that is None has the strength of the preset ``aug``. Raises UsageError for an invalid range.
    """

    aug: str = option("default", "augmentation preset; the settings below override parts of it", choices=PRESET_NAMES)
    jitter: list[float] | None = option(
        None,
        _help(
            "jitter",
            "scale jitter: range of the factor on `imgsz`; an image enlarged beyond `imgsz` is cropped at random",
        ),
        low=0.05,
        high=8,
    )
    mosaic: float | None = _from_0_to_1(
        "mosaic",
        "probability that an image is combined with three others; not in the last fifth of the epochs",
    )
    copy_paste: float | None = _from_0_to_1(
        "copy_paste", "probability that objects of another image are pasted in; needs masks; not applied to mosaics"
    )
    cutout: float | None = _from_0_to_1("cutout", "probability that rectangles of noise cover parts of the image")
    flip: float | None = _from_0_to_1("flip", "probability of a horizontal flip")
    color: str | None = option(
        None,
        _help(
            "color",
            "change of hue and saturation; strong: any hue, or grayscale, for classes that color does not distinguish",
        ),
        choices=COLORS,
    )
    brightness_contrast: float | None = _from_0_to_1(
        "brightness_contrast",
        "largest change of brightness and contrast, as a fraction of their range, in half of the images",
    )
    gamma: float | None = _from_0_to_1("gamma", "probability of a gamma correction")
    blur: float | None = _from_0_to_1("blur", "probability of a Gaussian blur")
    noise_jpeg: float | None = _from_0_to_1("noise_jpeg", "probability of Gaussian noise or JPEG artefacts")

    def __post_init__(self) -> None:
        if self.jitter is not None and (len(self.jitter) != 2 or self.jitter[0] > self.jitter[1]):
            raise UsageError(
                f"`jitter={as_text(self.jitter)}` must be two numbers, the smaller one first, such as 0.6 1.25"
            )

    def strengths(self) -> dict[str, Any]:
        """Return the strength of each augmentation by name, in the order of application."""
        names = [field.name for field in fields(Augmentation)][1:]  # without aug
        own = {name: getattr(self, name) for name in names}
        return {
            name: preset_strength(self.aug, name) if value is None else tuple(value) if name == "jitter" else value
            for name, value in own.items()
        }
