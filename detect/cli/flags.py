"""Command line -> config dataclass. A YAML file given with ``--config`` lies below the command line.

    @dataclass(kw_only=True)
    class Settings:
        data: str = option(REQUIRED, "name or path of the dataset")
        batch_size: int = option(2, "images per batch", low=1)

    settings, given = parse(Settings, "Train a detector.")

The field ``batch_size`` is the flag ``--batch-size`` and the YAML key ``batch_size`` or ``batch-size``. A bool is
``--amp`` and ``--no-amp``. A list of texts takes several values, and its flag may be repeated:
``--classes cat dog`` is ``--classes cat --classes dog``. A ``positional`` field takes a word without a flag.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from detect import progress
from detect.cli.foreign_flags import advice_for_flag
from detect.cli.version import versions
from detect.errors import DetectError, UsageError
from detect.io.yaml_files import load_yaml
from detect.options import RENAMED, Field, fields_of, from_yaml_values, shown, text_places
from detect.text import unknown

S = TypeVar("S")

_CONFIG = Field(
    "config", Path, False, True, None, "read settings from this file; flags override it", metavar="FILE.yaml"
)
# A setting in a message: `name` or `name=value`.
_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")
_SCRIPT = re.compile(r"(?:python )?(?<![\w/\\-])(detect_)?(train|evaluate|export|image|video|doctor|serve)\.py")


def parse(
    settings_class: type[S], description: str, argv: Sequence[str] | None = None, prog: str | None = None
) -> tuple[S, set[str]]:
    """Return the settings of a program, and the names of the fields that the user gave.

    argv: the words after the program's name; those of this process when None. From here on, messages of this process
    spell the settings as flags.
    prog: name of the program in its help; that of this process when None.
    Raises UsageError for anything unknown, missing, of the wrong type, out of range or not among the choices.
    """
    fields = fields_of(settings_class)
    progress.spell_settings_with(lambda text: spell_as_flags(text, fields))
    namespace, extra = _parser(fields, description, prog).parse_known_args(argv)
    if extra:
        _refuse(extra, fields)
    typed = {name: value for name, value in vars(namespace).items() if value is not None}
    config = typed.pop(_CONFIG.name, None)
    values = {} if config is None else _from_yaml(config, fields)
    for name, value in typed.items():
        fields[name].check(value, f"{_shown_name(fields[name])} {shown(value)}")
        values[name] = value
    for name, field in fields.items():
        if field.required and name not in values:
            raise UsageError(f"{_shown_name(field)} is missing: {field.help}")
    try:
        return settings_class(**values), set(values)
    except DetectError as error:
        if config is None:
            raise
        raise type(error)(f"{error} (settings from {config})") from None


def parse_command(
    commands: Mapping[str, type[Any]], description: str, argv: Sequence[str] | None = None
) -> tuple[str, Any, set[str]]:
    """Return the subcommand of a program, its settings, and the names of the fields that the user gave.

    commands: name of the subcommand -> settings dataclass, whose docstring is the subcommand's help.
    Raises UsageError as ``parse`` does, and for a flag that belongs to another subcommand.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        raise UsageError(f"a command is missing; one of {', '.join(commands)}")
    name, *rest = words
    if name == "--version":
        _print_version()
    if name in ("-h", "--help"):
        parser = _Parser(description=description, usage="%(prog)s COMMAND [flags]")
        listed = parser.add_argument_group("commands", "COMMAND --help lists the flags of one command")
        for command, settings_class in commands.items():
            listed.add_argument(command, nargs="?", help=_escaped(_first_line(settings_class)))
        parser.parse_args(words)
    if name not in commands:
        raise UsageError(unknown("command", name, commands))
    for word in rest:
        _check_owner(word, name, commands)
    prog = f"{Path(sys.argv[0]).name} {name}"
    return name, *parse(commands[name], _first_line(commands[name]), rest, prog)


def spell_as_flags(text: str, fields: Mapping[str, Field]) -> str:
    """Return a message or help text in which the settings among ``fields`` are spelled as flags.

    `` `imgsz` `` becomes ``--imgsz``, `` `head='fasterrcnn'` `` becomes ``--head fasterrcnn`` and `` `amp=False` ``
    becomes ``--no-amp``. In the console script of an installed package, ``python train.py`` becomes ``detect train``.
    """

    def spell(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        if name not in fields:
            return match[0]
        if fields[name].positional:
            return fields[name].shown_metavar() if value is None else value.strip("'\"")
        if value is None or value == "True":
            return flag(name)
        if value == "False":
            return f"--no-{flag(name)[2:]}"
        text = value.strip("'\"")
        return f"{flag(name)} {text if text == value else shlex.quote(text)}"  # a quoted value is one word

    if Path(sys.argv[0]).name.startswith("detect "):  # as detect.cli.program sets it
        text = _SCRIPT.sub(r"detect \2", text)
    return _SETTING.sub(spell, text)


def flag(name: str) -> str:
    """Return the flag of the field ``name``."""
    return "--" + name.replace("_", "-")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


class _Version(argparse.Action):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments | {"nargs": 0, "default": argparse.SUPPRESS})

    def __call__(self, *_: Any) -> NoReturn:
        _print_version()


def _print_version() -> NoReturn:
    print(versions())
    sys.exit(0)


def _parser(fields: Mapping[str, Field], description: str, prog: str | None) -> _Parser:
    required = [
        _shown_name(f) + ("" if f.positional else f" {f.shown_metavar()}") for f in fields.values() if f.required
    ]
    parser = _Parser(
        prog=prog,
        description=description,
        usage=" ".join(["%(prog)s", *required, "[flags]"]),
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32),
    )
    parser.add_argument("--version", action=_Version, help="print the versions of the package, torch and Python")
    for f in (*fields.values(), _CONFIG):
        if f.kind is bool:
            kind: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        else:
            nargs = "?" if f.positional else 1 if f.single else "+" if f.is_list else None
            kind = {"type": _converter(f), "nargs": nargs, "metavar": f.shown_metavar()}
            if f.is_list and f.holds_text:  # --input a --input b is --input a b
                kind["action"] = "extend"
        # The default is always None, never the real one: this shows what the user gave.
        parser.add_argument(f.name if f.positional else flag(f.name), default=None, help=_help_text(f, fields), **kind)
    return parser


def _converter(field: Field) -> Any:
    def convert(text: str) -> Any:
        try:
            return field.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {field.type_in_words}, not '{text}'") from None

    return convert


def _help_text(field: Field, fields: Mapping[str, Field]) -> str:
    """Return the help text of a field for argparse, in which the settings among ``fields`` are spelled as flags."""
    text = spell_as_flags(field.help, fields)
    if field.choices is not None and field.short_choices() is None:
        text += f"; one of {', '.join(field.choices)}"
    if field.required:
        text += " (required)"
    elif "default:" not in text:
        text += f" (default: {shown(field.default)})"
    return _escaped(text)


def _escaped(text: str) -> str:
    """Return a text for ``help`` of argparse, which formats it with %."""
    return text.replace("%", "%%")


def _shown_name(field: Field) -> str:
    return field.shown_metavar() if field.positional else flag(field.name)


def _first_line(settings_class: type[Any]) -> str:
    return (settings_class.__doc__ or "").strip().partition("\n")[0]


def _check_owner(word: str, command: str, commands: Mapping[str, type[Any]]) -> None:
    """Raise UsageError when ``word`` is a flag of other subcommands and not of ``command``."""
    name = word.split("=")[0].removeprefix("--").replace("-", "_")
    owners = [other for other, settings_class in commands.items() if name in fields_of(settings_class)]
    if word.startswith("--") and owners and command not in owners:
        raise UsageError(f"{flag(name)} is a flag of {', '.join(owners)}, not of {command}")


def _refuse(extra: Sequence[str], fields: Mapping[str, Field]) -> NoReturn:
    """Raise UsageError for the first unknown flag, or else for the first word without a flag."""
    flags = [word.split("=")[0] for word in extra if word.startswith("-")]
    if not flags:
        advice = ""
        if "input" in fields:
            single = "--input takes one video; run the program once for each"
            advice = f"; {single if fields['input'].single else 'give images and videos with --input'}"
        raise UsageError(f"'{extra[0]}' follows no flag (see --help){advice}")
    name = flags[0].lstrip("-").replace("-", "_").lower()
    if (new := RENAMED.get(name, "")) in fields:
        raise UsageError(f"{flags[0]} is now called {flag(new)}")
    same, advice = advice_for_flag(name, fields)
    if same:
        raise UsageError(f"unknown flag '{flags[0]}': did you mean {spell_as_flags(same, fields)}?")
    if advice:
        raise UsageError(f"unknown flag '{flags[0]}': {advice}")
    known = [flag(f.name) for f in (*fields.values(), _CONFIG) if not f.positional]
    known += [f"--no-{flag(f.name)[2:]}" for f in fields.values() if f.kind is bool]
    raise UsageError(unknown("flag", flags[0], [*known, "--help", "--version"]))


def _from_yaml(path: Path, fields: Mapping[str, Field]) -> dict[str, Any]:
    content = load_yaml(path, text_places(fields))
    try:
        return from_yaml_values(fields, content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
