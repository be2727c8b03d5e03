"""Settings dataclass <- YAML file <- command line. Knows no script.

    @dataclass(kw_only=True)
    class Settings:
        data: str = option(REQUIRED, "name or path of the dataset")
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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import yaml

from detect.errors import DetectError, UsageError
from detect.io.files import write_text
from detect.options import Field, fields_of, flag, shown
from detect.text import unknown

S = TypeVar("S")


def parse(settings_class: type[S], description: str, argv: Sequence[str] | None = None) -> tuple[S, set[str]]:
    """The settings from ``argv`` (the process's own when None), with ``--config FILE.yaml`` below it.

    Returns the instance, and the field names that the command line or the YAML file gave.
    Raises UsageError for anything unknown, missing, of the wrong type, out of range or not among the choices.
    """
    fields = fields_of(settings_class)
    parser = _parser(fields, description)
    namespace, extra = parser.parse_known_args(argv)
    if extra:
        _refuse(extra, fields)
    typed = {name: value for name, value in vars(namespace).items() if value is not None}
    config = typed.pop("config", None)
    values = {} if config is None else _from_yaml(config, fields)
    for name, value in typed.items():
        fields[name].check(value, f"{fields[name].shown_name()} {shown(value)}")
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def _parser(fields: dict[str, Field], description: str) -> _Parser:
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
            parser.add_argument(flag(f.name), dest=f.name, action=action, default=None, help=f.help_text())
        else:
            parser.add_argument(
                flag(f.name),
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


def _refuse(extra: list[str], fields: dict[str, Field]) -> NoReturn:
    """Raise for the first unknown flag, or where there is none the first stray word."""
    flags = [word.split("=")[0] for word in extra if word.startswith("-")]
    if not flags:
        one = "; --input takes one path, or a pattern in quotes such as '*.jpg'" if "input" in fields else ""
        raise UsageError(f"'{extra[0]}' follows no flag (see --help){one}")
    known = [flag(f.name) for f in fields.values() if not f.positional]
    known += [f"--no-{flag(f.name)[2:]}" for f in fields.values() if f.kind is bool]
    raise UsageError(unknown("flag", flags[0], [*known, "--config", "--help"]))


def _from_yaml(path: Path, fields: dict[str, Field]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in load_yaml(path).items():
        name = key.replace("-", "_")
        where = f"{key}: {shown(value)}"
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


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
