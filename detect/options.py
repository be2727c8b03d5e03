"""Config dataclasses whose fields carry help text, ranges and choices.

A package with settings declares a plain dataclass and describes each field with ``option``:

    @dataclass(kw_only=True)
    class Config:
        data: str = option(REQUIRED, "name or path of the dataset")
        lr: float = option(0.01, "learning rate for a batch of 16 images", low=0)
        classes: list[str] | None = option(None, "only these classes (default: all)")

``build`` makes a checked instance from keyword arguments, ``from_yaml_values`` from the content of a YAML file, and
``detect.cli.flags`` from a command line. A field has the type str, int, float, bool, Path, a list of one of these, or
one of them ``| None``.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from detect.errors import UsageError
from detect.foreign_names import SETTINGS
from detect.text import near_names, unknown

REQUIRED = dataclasses.MISSING
"""Default of a field that the user must set."""

# Settings of earlier versions and the names that replaced them. Using an old name is an error that names the new one.
RENAMED = {
    "colours": "color",  # vocabulary: old name
    "rare": "repeat_threshold",
    "skip_steps": "max_skipped_steps",
    "show_scores": "hide_scores",
    "replay": "debug_step",
    "max_pictures": "max_images",  # vocabulary: old name
    "pictures": "images",  # vocabulary: old name
}

_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}

MIN_IMGSZ, MAX_IMGSZ = 32, 8192  # pixels of the short side of a resized image
HIGHEST_MAX_DETECTIONS = 10_000  # with more, NMS takes minutes per image
HIGHEST_PROPOSALS = 10_000
_MAX_NAME_BYTES = 200  # a number is appended to names that are taken

C = TypeVar("C")
F = TypeVar("F", bound=Callable[..., Any])


def option(default: Any, help: str, **attributes: Any) -> Any:
    """Return a dataclass field with a default, a help text, and further ``attributes`` of ``Field``:

    ``choices``, ``metavar``, ``low``, ``high``, ``positional`` and ``single``.
    """
    metadata = {"help": help, **attributes}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def device_option() -> Any:
    """Return the field ``device``, which every program that computes has."""
    return option("auto", "device that runs the model; auto: a GPU if present", metavar="auto|cpu|cuda|cuda:0|mps")


def imgsz_option(help: str) -> Any:
    """Return the field ``imgsz``: the short side of the resized images in pixels. None, the default, is explained by
    ``help``."""
    return option(None, help, low=MIN_IMGSZ, high=MAX_IMGSZ)


def max_detections_option(help: str) -> Any:
    """Return the field ``max_detections``: the maximum number of detections per image. None, the default, is explained
    by ``help``."""
    return option(None, help, low=1, high=HIGHEST_MAX_DETECTIONS)


def proposals_option() -> Any:
    """Return the field ``proposals``: the number of proposals that an R-CNN classifies."""
    return option(
        None,
        "number of proposals per image that a Faster or Mask R-CNN classifies, those with the highest scores; fewer"
        " are faster and may miss objects (default: the model's, 300 or 1000)",
        low=1,
        high=HIGHEST_PROPOSALS,
    )


def precision_option() -> Any:
    """Return the field ``precision``: the number format of the networks."""
    return option(
        None,
        "number format of the networks; bf16 is faster on CPUs with AVX-512 BF16 or AMX and on GPUs, fp16 on GPUs;"
        " int8 is the model that `export.py --int8` made of the checkpoint; auto: the fastest one that was measured to"
        " lose at most 0.3 points of AP, else fp32 (default: fp32, or that of an exported model)",
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
    )


def fast_option(
    help: str = "use the number of proposals and the number format that `evaluate.py --tune-speed` stored in the"
    " checkpoint, unless `proposals` and `precision` are given",
) -> Any:
    """Return the field ``fast``: whether to use the faster settings of the checkpoint."""
    return option(False, help)


def output_dir_option(default: str) -> Any:
    """Return the field ``output_dir``: the folder in which each run gets a folder of its own."""
    return option(Path(default), "folder that receives one folder per run", metavar="D")


def check_run_name(name: str | None) -> None:
    """Raise UsageError when the setting ``name`` is not the plain name of a folder."""
    if name is not None and (
        name in ("", ".", "..") or set(name) & set("/\\\0") or len(os.fsencode(name)) > _MAX_NAME_BYTES
    ):
        short = name if len(name) <= 60 else f"{name[:60]}..."
        raise UsageError(f"`name={short!r}` must be a folder name of at most {_MAX_NAME_BYTES} bytes, not a path")


def check_number(name: str, value: object, kind: type[int] | type[float], low: float, high: float = math.inf) -> None:
    """Raise UsageError unless the setting ``name`` is a number of type ``kind`` (also of NumPy) in low..high."""
    numeric = numbers.Integral if kind is int else numbers.Real
    # Written as "not inside the range" because every comparison with NaN is false.
    if not isinstance(value, numeric) or isinstance(value, bool) or not low <= value <= high:  # type: ignore[operator]
        limits = f"of at least {low}" if high == math.inf else f"in {low}..{high}"
        raise UsageError(f"`{name}={value!r}` must be {_TYPE_WORDS[kind]} {limits}")


def check_imgsz(imgsz: object) -> None:
    """Raise UsageError unless ``imgsz``, the short side of the resized images in pixels, is in the supported range."""
    check_number("imgsz", imgsz, int, MIN_IMGSZ, MAX_IMGSZ)


def check_threshold(threshold: object) -> None:
    """Raise UsageError unless ``threshold``, the minimum score of a detection, is a number in 0..1."""
    check_number("threshold", threshold, float, 0, 1)


def check_max_detections(max_detections: object) -> None:
    """Raise UsageError unless ``max_detections``, a number of detections per image, is in the supported range."""
    check_number("max_detections", max_detections, int, 1, HIGHEST_MAX_DETECTIONS)


def check_nms(nms: object) -> None:
    """Raise UsageError unless ``nms``, the IoU above which NMS drops a box, is a number in 0..1."""
    check_number("nms", nms, float, 0, 1)


def check_proposals(proposals: object) -> None:
    """Raise UsageError unless ``proposals``, a number of proposals per image, is in the supported range."""
    check_number("proposals", proposals, int, 1, HIGHEST_PROPOSALS)


@dataclasses.dataclass(frozen=True)
class Field:
    """Description of one config field.

    kind: type of the value, or of one item of a list.
    is_list: whether the value is a list.
    optional: whether None is allowed.
    help: one sentence with the unit. The command line appends the default, unless the text says ``default:`` itself.
    choices: the only values allowed; ``x:NAME`` stands for every value that begins with ``x:``.
    metavar: placeholder of the value in the help, such as ``FILE``.
    low, high: range of a number, both ends included.
    positional: whether the command line takes the value without a flag.
    single: whether the flag of a list takes one value each time; it may still be repeated.
    """

    name: str
    kind: type
    is_list: bool
    optional: bool
    default: Any
    help: str
    choices: Sequence[str] | None = None
    metavar: str | None = None
    low: float | None = None
    high: float | None = None
    positional: bool = False
    single: bool = False

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def holds_text(self) -> bool:
        """Whether the value, or each item of a list, is a text or a path."""
        return self.kind in (str, Path)

    @property
    def type_in_words(self) -> str:
        """Type of one value in words, such as ``a whole number``."""
        return _TYPE_WORDS[self.kind]

    def checked(self, value: Any, where: str) -> Any:
        """Return a value from YAML or from Python as the type of the field.

        A single text or path stands for a list of one.

        where: how a message names the value, such as ``lr: fast``. Raises UsageError for a value of another type, and
        as ``check`` does.
        """
        if value is None and self.optional:
            return None
        if not self.is_list:
            value = self._convert_one(value, where)
        elif isinstance(value, (list, tuple)):
            value = [self._convert_one(v, where) for v in value]
        elif self.holds_text and isinstance(value, (str, Path)):
            value = [self._convert_one(value, where)]
        else:
            raise UsageError(f"{where} must be a list like [a, b]")
        self.check(value, where)
        return value

    def _convert_one(self, value: Any, where: str) -> Any:
        if type(value) is self.kind:
            return value
        if self.kind is float and type(value) in (int, str):
            try:
                return float(value)  # YAML 1.1 reads 1e-4, which has no dot, as text
            except ValueError:
                pass
        if self.kind is Path and isinstance(value, (str, Path)):
            return Path(value)
        if self.kind is str and isinstance(value, (int, Path)) and not isinstance(value, bool):
            return str(value)  # category ids, camera numbers and run names may be bare numbers
        quote = ", so put it in quotes" if self.kind is str and type(value) in (bool, float) else ""
        raise UsageError(f"{where} must be {self.type_in_words}{quote}")

    def check(self, value: Any, where: str) -> None:
        """Raise UsageError when ``value`` is out of range or not one of the choices."""
        for one in value if self.is_list else [value]:
            if self.choices is not None and not any(_allows(choice, str(one)) for choice in self.choices):
                what = "value of `to`" if self.name == "to" else self.name.replace("_", " ")
                raise UsageError(unknown(what, str(one), self.choices))
            # Written as "not inside the range" so that NaN is refused too.
            if self.low is not None and not one >= self.low:
                raise UsageError(f"{where} must be at least {self.low}")
            if self.high is not None and not one <= self.high:
                raise UsageError(f"{where} must be at most {self.high}")

    def shown_metavar(self) -> str:
        """Placeholder of the value in the help: the metavar, up to six choices, or a word for the type."""
        return self.metavar or self.short_choices() or _METAVARS[self.kind]

    def short_choices(self) -> str | None:
        """Return the choices as ``a|b|c``, or None when there are none or more than six."""
        return "|".join(self.choices) if self.choices is not None and len(self.choices) <= 6 else None


def fields_of(config_class: type) -> dict[str, Field]:
    """Return {name: Field} for the fields of a config dataclass that were made with ``option``.

    Raises TypeError for a field of an unsupported type.
    """
    hints = typing.get_type_hints(config_class)
    fields = {}
    for f in dataclasses.fields(config_class):
        if "help" not in f.metadata:
            continue
        kind, optional = hints[f.name], False
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            arguments = typing.get_args(kind)
            optional = type(None) in arguments
            (kind,) = [a for a in arguments if a is not type(None)]
        is_list = typing.get_origin(kind) is list
        if is_list:
            (kind,) = typing.get_args(kind)
        if kind not in _TYPE_WORDS:
            raise TypeError(f"{config_class.__name__}.{f.name}: settings cannot have the type {kind}")
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        fields[f.name] = Field(f.name, kind, is_list, optional, default, **f.metadata)
    return fields


def build(config_class: type[C], function: str, /, **values: Any) -> C:
    """Return a checked config from the keyword arguments of a public function.

    function: name for messages, such as ``detect.train``.
    Raises TypeError for an unknown keyword, naming the nearest one, and UsageError for a value of the wrong type, out
    of range or not among the choices.
    """
    fields = fields_of(config_class)
    _check_keywords(function, values, fields)
    checked = {}
    for name, value in values.items():
        checked[name] = fields[name].checked(value, f"`{name}={value!r}`")
    for name, field in fields.items():
        if field.required and name not in checked:
            raise TypeError(f"{function}() is missing the argument '{name}': {field.help}")
    return config_class(**checked)


def suggest_keywords(function: F) -> F:
    """Decorate a public function so that an unknown keyword argument is a TypeError that names the nearest one."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @functools.wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        _check_keywords(function.__qualname__, keywords, known)
        return function(*arguments, **keywords)

    return cast(F, checked)


def near_settings(name: str, known: Collection[str]) -> list[str]:
    """Return at most three settings among ``known`` that an unknown ``name`` may mean.

    That is its new name, or what does the same as this setting of another program; else those with near names.
    """
    foreign = SETTINGS.get(name.lower().replace("-", "_"), ())
    same = next(([setting] for setting, value in foreign if setting in known and not value), [])
    return [RENAMED[name]] if RENAMED.get(name) in known else same or near_names(name, known)


def _check_keywords(function: str, given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            near = near_settings(name, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'; {hint}")


def from_yaml_values(fields: Mapping[str, Field], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a YAML mapping as checked values by field name; keys may have ``-`` in place of ``_``.

    Raises UsageError for a key that is unknown or given twice, and for a value that does not fit its field.
    """
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in fields:
            if RENAMED.get(name) in fields:
                raise UsageError(f"key '{key}' is now called '{RENAMED[name]}'")
            raise UsageError(unknown("key", key, fields, near_settings(name, fields)))
        if name in values:
            raise UsageError(f"{key} is given twice")
        values[name] = fields[name].checked(value, f"{key}: {shown(value)}")
    return values


def text_places(fields: Mapping[str, Field]) -> list[tuple[str]]:
    """Return the places of a YAML file of settings that hold texts, see ``detect.io.yaml_files.read_yaml``."""
    names = [name for name, field in fields.items() if field.holds_text]
    return [(key,) for name in names for key in dict.fromkeys((name, name.replace("_", "-")))]


def shown(value: Any) -> str:
    """Return a value as the user would type it on a command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(shown, value))
    return str(value)


def _allows(choice: str, value: str) -> bool:
    return value == choice or (choice.endswith(":NAME") and value.startswith(choice.removesuffix("NAME")))
