"""Settings dataclass <- YAML file <- command line. Knows no script.

    @dataclass(kw_only=True)
    class Settings:
        data: str = option(REQUIRED, "name or path of the data set")
        lr: float = option(0.01, "learning rate for a batch of 16 images", low=0)
        classes: list[str] | None = option(None, "only these classes (default: all)")

    settings, given = parse(Settings, "Train a detector.")

A field ``batch_size`` is the flag ``--batch-size`` and the YAML key ``batch_size`` or ``batch-size``. Its
type is str, int, float, bool (``--amp`` and ``--no-amp``), Path, a list of these, or any of them ``| None``.
A ``positional`` field is a word without a flag, such as ``inference`` in ``benchmark.py inference``.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import yaml

from detect.errors import DetectError, UsageError, unknown
from detect.files import write_text

S = TypeVar("S")

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


def parse(settings_class: type[S], description: str, argv: Sequence[str] | None = None) -> tuple[S, set[str]]:
    """The settings from ``argv`` (the process's own when None), with ``--config FILE.yaml`` below it.

    Returns the instance, and the field names that the command line or the YAML file gave.
    Raises UsageError for anything unknown, missing, of the wrong type, out of range or not among the choices.
    """
    fields = _fields(settings_class)
    parser = _parser(fields, description)
    namespace, extra = parser.parse_known_args(argv)
    if extra:
        _refuse(extra, fields)
    typed = {name: value for name, value in vars(namespace).items() if value is not None}
    config = typed.pop("config", None)
    values = {} if config is None else _from_yaml(config, fields)
    for name, value in typed.items():
        fields[name].check(value, f"{fields[name].shown_name()} {_shown(value)}")
        values[name] = value
    for name, field in fields.items():
        if field.required and name not in values:
            raise UsageError(f"{field.shown_name()} is missing: {field.help}")
    try:
        return settings_class(**values), set(values)
    except DetectError as error:
        if config is None:
            raise
        raise type(error)(f"{error} (settings from {config})") from None


def load_yaml(path: Path) -> dict[str, Any]:
    """The content of a YAML file that is one mapping, keys as written; UsageError for any other file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a YAML file (not UTF-8 text)") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{path} must hold 'key: value' lines, not a {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def save(
    settings: Any, path: Path, without: Iterable[str] = (), comments: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write the settings, but for those in ``without``, to ``path`` as YAML that ``--config`` reads back.

    comments: of fields, which stand above them.
    """
    lines = []
    for name in (f.name for f in dataclasses.fields(settings) if f.name not in set(without)):
        lines += [f"# {comments[name]}\n"] if name in comments else []
        lines.append(yaml.safe_dump({name: _plain(getattr(settings, name))}, sort_keys=False, allow_unicode=True))
    write_text(path, "".join(lines))


@dataclasses.dataclass(frozen=True)
class _Field:
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
            text += f" (default: {_shown(self.default)})"
        return text.replace("%", "%%")

    def shown_name(self) -> str:
        return self.shown_metavar() if self.positional else _flag(self.name)

    def shown_metavar(self) -> str:
        return self.metavar or self._choices_as_metavar() or _METAVARS[self.kind]

    def _choices_as_metavar(self) -> str | None:
        return "|".join(self.choices) if self.choices is not None and len(self.choices) <= 6 else None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def _fields(settings_class: type) -> dict[str, _Field]:
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
        fields[f.name] = _Field(f.name, kind, is_list, optional, default, **f.metadata)
    return fields


def _parser(fields: dict[str, _Field], description: str) -> _Parser:
    required = [
        f.shown_name() + ("" if f.positional else f" {f.shown_metavar()}") for f in fields.values() if f.required
    ]
    parser = _Parser(
        description=description,
        usage=" ".join(["%(prog)s", *required, "[flags]"]),
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32),
    )
    for f in fields.values():
        # A default of None, never the real one, tells what the user gave.
        if f.positional:
            parser.add_argument(f.name, nargs="?", metavar=f.shown_metavar(), default=None, help=f.help_text())
        elif f.kind is bool:
            action = argparse.BooleanOptionalAction
            parser.add_argument(_flag(f.name), dest=f.name, action=action, default=None, help=f.help_text())
        else:
            parser.add_argument(
                _flag(f.name),
                dest=f.name,
                type=f.from_text,
                nargs="+" if f.is_list else None,
                metavar=f.shown_metavar(),
                default=None,
                help=f.help_text(),
            )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE.yaml",
        help="read settings from here; flags on the line win (default: none)",
    )
    return parser


def _refuse(extra: list[str], fields: dict[str, _Field]) -> NoReturn:
    """Raise for the first unknown flag, or where there is none the first stray word."""
    flags = [word.split("=")[0] for word in extra if word.startswith("-")]
    if not flags:
        one = "; --input takes one path, or a pattern in quotes such as '*.jpg'" if "input" in fields else ""
        raise UsageError(f"'{extra[0]}' follows no flag (see --help){one}")
    known = [_flag(f.name) for f in fields.values() if not f.positional]
    known += [f"--no-{_flag(f.name)[2:]}" for f in fields.values() if f.kind is bool]
    raise UsageError(unknown("flag", flags[0], [*known, "--config", "--help"]))


def _from_yaml(path: Path, fields: dict[str, _Field]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in load_yaml(path).items():
        name = key.replace("-", "_")
        where = f"{key}: {_shown(value)}"
        try:
            if name not in fields:
                raise UsageError(unknown("key", key, fields))
            if name in values:
                raise UsageError(f"{key} is given twice")
            values[name] = fields[name].from_yaml(value, where)
            fields[name].check(values[name], where)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from None
    return values


def _allows(choice: str, value: str) -> bool:
    return value == choice or (choice.endswith(":NAME") and value.startswith(choice.removesuffix("NAME")))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    """A value as the user would type it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_shown, value))
    return str(value)
