"""What a dataclass of settings says of each of its fields: type, default, range and words for the help."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detect.errors import UsageError
from detect.text import unknown

REQUIRED = dataclasses.MISSING
"""The default of a field that the user has to give."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}


def option(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] | None = None,
    metavar: str | None = None,
    low: float | None = None,
    high: float | None = None,
    positional: bool = False,
) -> Any:
    """A dataclass field that ``parse`` turns into a flag.

    The help shows the default by itself, unless it says ``default:`` in its own words.
    choices: the only values allowed; ``x:NAME`` stands for all that begin with ``x:``.
    low, high: the range of a number, both ends allowed.
    """
    metadata = {
        "help": help,
        "choices": None if choices is None else tuple(choices),
        "metavar": metavar,
        "low": low,
        "high": high,
        "positional": positional,
    }
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Field:
    """What one dataclass field asks of its flag and of its YAML value."""

    name: str
    kind: type
    is_list: bool
    optional: bool
    default: Any
    help: str
    choices: tuple[str, ...] | None
    metavar: str | None
    low: float | None
    high: float | None
    positional: bool

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def from_text(self, text: str) -> Any:
        """One word of the command line."""
        try:
            return self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {_WORDS[self.kind]}, not '{text}'") from None

    def from_yaml(self, value: Any, where: str) -> Any:
        if value is None and self.optional:
            return None
        if self.is_list:
            if not isinstance(value, list):
                raise UsageError(f"{where} must be a list like [a, b]")
            return [self._one_from_yaml(v, where) for v in value]
        return self._one_from_yaml(value, where)

    def _one_from_yaml(self, value: Any, where: str) -> Any:
        if type(value) is self.kind:
            return value
        if self.kind is float and type(value) in (int, str):
            try:
                return float(value)  # YAML 1.1 reads 1e-4, without a dot, as text
            except ValueError:
                pass
        if self.kind is Path and type(value) is str:
            return Path(value)
        if self.kind is str and type(value) is int:
            return str(value)  # category ids, cameras and run names may be bare numbers
        quote = ", so put it in quotes" if self.kind is str and type(value) in (bool, float) else ""
        raise UsageError(f"{where} must be {_WORDS[self.kind]}{quote}")

    def check(self, value: Any, where: str) -> None:
        """Raise UsageError where ``value`` is out of range or not among the choices."""
        for one in value if self.is_list and value is not None else [value]:
            if one is None:
                continue
            if self.choices is not None and not any(_allows(choice, str(one)) for choice in self.choices):
                raise UsageError(unknown(self.name.replace("_", " "), str(one), self.choices))
            # Written as "not inside" so that nan fails too.
            if self.low is not None and not one >= self.low:
                raise UsageError(f"{where} must be at least {self.low}")
            if self.high is not None and not one <= self.high:
                raise UsageError(f"{where} must be at most {self.high}")

    def help_text(self) -> str:
        text = self.help
        if self.choices is not None and self._choices_as_metavar() is None:
            text += f"; one of {', '.join(self.choices)}"
        if self.required:
            text += " (required)"
        elif "default:" not in text:
            text += f" (default: {shown(self.default)})"
        return text.replace("%", "%%")

    def shown_name(self) -> str:
        return self.shown_metavar() if self.positional else flag(self.name)

    def shown_metavar(self) -> str:
        return self.metavar or self._choices_as_metavar() or _METAVARS[self.kind]

    def _choices_as_metavar(self) -> str | None:
        return "|".join(self.choices) if self.choices is not None and len(self.choices) <= 6 else None


def fields_of(settings_class: type) -> dict[str, Field]:
    """The fields by their names; TypeError for a type that no flag has."""
    hints = typing.get_type_hints(settings_class)
    fields = {}
    for f in dataclasses.fields(settings_class):
        kind, optional = hints[f.name], False
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            arguments = typing.get_args(kind)
            optional = type(None) in arguments
            (kind,) = [a for a in arguments if a is not type(None)]
        is_list = typing.get_origin(kind) is list
        if is_list:
            (kind,) = typing.get_args(kind)
        if kind not in _WORDS:
            raise TypeError(f"{settings_class.__name__}.{f.name}: flags have no type {kind}")
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        fields[f.name] = Field(f.name, kind, is_list, optional, default, **f.metadata)
    return fields


def flag(name: str) -> str:
    """The flag of the field ``name``."""
    return "--" + name.replace("_", "-")


def shown(value: Any) -> str:
    """A value as the user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(shown, value))
    return str(value)


def _allows(choice: str, value: str) -> bool:
    return value == choice or (choice.endswith(":NAME") and value.startswith(choice.removesuffix("NAME")))
