"""Flags: defaults, YAML file and command line give the settings; a mistake is one line that says what is right."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import pytest
from helpers.folders import ROOT

import benchmark
from detect.cli.commands import doctor
from detect.cli.commands.train import TrainSettings
from detect.cli.flags import parse, parse_command, spell_as_flags
from detect.cli.program import COMMANDS as PROGRAMS
from detect.cli.settings.detection import DetectImageSettings
from detect.cli.settings.evaluate import EvaluateSettings
from detect.errors import UsageError
from detect.io.yaml_files import load_yaml, save_config
from detect.options import REQUIRED, fields_of, option

COMMAND_MODULES = "detect.cli.commands"


@dataclass(kw_only=True)
class Settings:
    data: str = option(REQUIRED, "name or path of the dataset")
    backbone: str = option("resnet50", "backbone", choices=("resnet50", "resnet101"))
    batch_size: int = option(2, "images per step", low=1)
    lr: float = option(0.01, "learning rate", low=0, high=1)
    amp: bool = option(True, "half precision, 100% of the time")
    classes: list[str] | None = option(None, "only these classes (default: all)")
    sizes: list[int] = option([480, 800], "sides")
    output_dir: Path = option(Path("outputs"), "where runs are kept")


def settings(line: str) -> tuple[Settings, set[str]]:
    return parse(Settings, "A program.", line.split())


def refused(line: str) -> str:
    with pytest.raises(UsageError) as caught:
        settings(line)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_apply_to_settings_that_are_not_given():
    assert settings("--data x") == (Settings(data="x"), {"data"})


def test_every_type_can_be_given_on_the_command_line():
    line = "--data x --batch-size 8 --lr 1e-4 --no-amp --classes cat 7 --sizes 1 2 --output-dir out"
    got, given = settings(line)
    assert got == Settings(
        data="x", batch_size=8, lr=1e-4, amp=False, classes=["cat", "7"], sizes=[1, 2], output_dir=Path("out")
    )
    assert given == {"data", "batch_size", "lr", "amp", "classes", "sizes", "output_dir"}


def test_list_default_is_not_shared_between_instances():
    settings("--data x")[0].sizes.append(1)
    assert settings("--data x")[0].sizes == [480, 800]


def test_command_line_overrides_yaml_and_yaml_overrides_default(tmp_path):
    path = yaml_file(tmp_path, "data: y\nbatch-size: 4\nlr: 0.5\nclasses: null\n")
    got, given = settings(f"--config {path} --lr 0.25")
    assert (got.data, got.batch_size, got.lr, got.backbone) == ("y", 4, 0.25, "resnet50")
    assert given == {"data", "batch_size", "lr", "classes"}


def test_yaml_accepts_common_spellings_of_numbers(tmp_path):
    path = yaml_file(tmp_path, "data: 7\nlr: 1e-4\nclasses: [3, cat]\noutput_dir: a/b\namp: off\n")
    got, _ = settings(f"--config {path}")
    assert got == Settings(data="7", lr=1e-4, classes=["3", "cat"], output_dir=Path("a/b"), amp=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dta: x", ["unknown key 'dta'", "did you mean data"]),
        ("data: ~", ["data: none must be text"]),
        ("data: x\nclasses: [cat, ~]", ["line 2", "'~' means no value"]),
        ("data: x\nclasses:\n- cat\n-\n", ["line 4", "an item is empty"]),
        ("data: x\ndata: y", ["line 2", "'data' is given twice"]),
        ("data: x\nlr: 2024-13-45", ["not usable YAML"]),
        ("data: x\nbatch_size: 1.5", ["batch_size: 1.5 must be a whole number"]),
        ("data: x\nbatch_size: true", ["batch_size: yes must be a whole number"]),
        ("data: x\nlr: fast", ["lr: fast must be a number"]),
        ("data: x\nlr: null", ["lr: none must be a number"]),
        ("data: x\namp: 1", ["amp: 1 must be true or false"]),
        ("data: x\nsizes: 3", ["sizes: 3 must be a list"]),
        ("data: x\nlr: 2", ["lr: 2 must be at most 1"]),
        ("data: x\nbackbone: resnet5", ["unknown backbone 'resnet5'", "did you mean resnet50"]),
        ("batch_size: 1\nbatch-size: 2", ["batch-size is given twice"]),
        ("data: [", ["line 1", "not YAML"]),
        ("- data", ["must hold 'key: value' lines, not a list"]),
    ],
)
def test_yaml_error_names_file_key_and_value(tmp_path, text, words):
    path = yaml_file(tmp_path, text)
    message = refused(f"--config {path}")
    assert all(word in message for word in [str(path), *words]), message


def test_yaml_texts_are_kept_as_typed(tmp_path):
    typed = ["no", "yes", "007", "1e3", "12:30", "1_000", "0x10", "2024-01-01", "1.0", "="]
    path = yaml_file(tmp_path, f"data: 007\nclasses: [{', '.join(typed)}, 'null', \"~\"]\noutput-dir: 1e3\nlr: 0.5\n")
    got, _ = settings(f"--config {path}")
    assert got == Settings(data="007", classes=[*typed, "null", "~"], output_dir=Path("1e3"), lr=0.5)


def test_text_stands_for_a_list_of_one_and_flags_of_lists_may_be_repeated(tmp_path):
    assert settings(f"--config {yaml_file(tmp_path, 'data: x')} --classes a b --classes c")[0].classes == [
        "a",
        "b",
        "c",
    ]
    assert settings(f"--config {yaml_file(tmp_path, 'data: x')} --sizes 1 2 --sizes 3")[0].sizes == [3]
    assert settings(f"--config {yaml_file(tmp_path, 'classes: no')} --data x")[0].classes == ["no"]


def test_missing_or_binary_config_file_is_a_usage_error(tmp_path):
    assert "cannot read" in refused(f"--config {tmp_path}/none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00\xff")
    assert "not a YAML file" in refused(f"--config {tmp_path}/x.yaml")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["--data is missing", "name or path of the dataset"]),
        ("--data x --batchsize 3", ["unknown flag '--batchsize'", "did you mean --batch-size"]),
        ("--data x --batch 3", ["unknown flag '--batch'"]),  # no abbreviations
        ("--data x --no-lr", ["unknown flag '--no-lr'"]),
        ("--data x --leaning=3", ["unknown flag '--leaning'"]),
        ("--data x --iou-thres 0.5", ["unknown flag '--iou-thres': known are"]),  # nothing resembles it
        ("--data x y", ["'y' follows no flag (see --help)"]),
        ("--data x --lr fast", ["--lr: must be a number, not 'fast'"]),
        ("--data x --lr nan", ["--lr nan must be at least 0"]),
        ("--data x --lr -1", ["--lr -1.0 must be at least 0"]),
        ("--data x --batch-size 0", ["--batch-size 0 must be at least 1"]),
        ("--data x --classes", ["--classes: expected at least one argument"]),
        ("--data x --backbone resnet5", ["unknown backbone 'resnet5'", "did you mean resnet50"]),
    ],
)
def test_flag_error_says_what_would_be_right(line, words):
    message = refused(line)
    assert all(word in message for word in words), message


def test_help_lists_every_flag_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        settings("--help")
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "(required)",
        "(default: resnet50)",
        "(default: 0.01)",
        "half precision, 100% of the time (default: yes)",
        "only these classes (default: all)",
        "(default: 480 800)",
        "(default: outputs)",
        "--config FILE.yaml",
    ):
        assert words in shown


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in (*PROGRAMS, "benchmark")),
        *(["doctor", command] for command in doctor.COMMANDS),
        *(["benchmark", command] for command in benchmark.COMMANDS),
    ],
    ids=" ".join,
)
def test_help_of_every_program_and_command_is_printed_with_settings_spelled_as_flags(words, monkeypatch, capsys):
    name, *command = words
    monkeypatch.setattr(sys, "argv", [name, *command, "--help"])
    main = benchmark.main if name == "benchmark" else import_module(f"{COMMAND_MODULES}.{PROGRAMS[name][0]}").main
    with pytest.raises(SystemExit) as stop:
        main()
    shown = capsys.readouterr().out
    assert stop.value.code == 0 and shown.startswith("usage: ")
    assert not re.search(r"`\w+`", shown)


def test_saved_settings_are_read_back_unchanged(tmp_path):
    one = Settings(data="é", lr=1e-7, amp=False, classes=["1", "yes", "null"], output_dir=Path("a b/c"))
    path = tmp_path / "settings.yaml"
    save_config(one, path)
    assert list(load_yaml(path)) == [f.name for f in fields(Settings)]
    assert settings(f"--config {path}")[0] == one


def test_parsing_flags_imports_no_heavy_library():
    code = "import sys, detect.cli.flags; print({'torch', 'cv2', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@dataclass
class CommandSettings:
    command: str = option(REQUIRED, "what to do", choices=("draw", "write"), positional=True)
    names: list[str] | None = option(None, "names to use (default: all)")


@pytest.mark.parametrize("line", ["draw --names a b", "--names=a draw"])
def test_positional_field_is_given_without_a_flag(line):
    assert parse(CommandSettings, "A program.", line.split())[0].command == "draw"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "draw|write is missing: what to do"),
        ("drow", "unknown command 'drow': did you mean draw"),
        ("draw write", "'write' follows no flag"),
        ("--command draw", "unknown flag '--command'"),
    ],
)
def test_error_in_positional_field_is_one_line(line, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        parse(CommandSettings, "A program.", line.split())


def test_help_shows_positional_field_in_usage_line(capsys):
    with pytest.raises(SystemExit):
        parse(CommandSettings, "A program.", ["--help"])
    text = capsys.readouterr().out
    assert "draw|write [flags]" in text and "--command" not in text


@pytest.mark.parametrize("settings", [TrainSettings, EvaluateSettings, DetectImageSettings])
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/tmp/x", "a\\b", "x" * 201, "é" * 101])
def test_run_name_must_not_be_a_path(settings, name):
    one = ["--input", "a.jpg"] if settings is DetectImageSettings else []
    with pytest.raises(UsageError, match="must be a folder name of at most 200 bytes, not a path"):
        parse(settings, "", [*one, f"--name={name}"])
    assert parse(settings, "", [*one, "--name", "x" * 200])[0].name == "x" * 200


@dataclass(kw_only=True)
class Measure:
    """Measure something."""

    rounds: int = option(5, "number of rounds", low=1)


@dataclass(kw_only=True)
class Check:
    """Check something."""

    data: str = option(REQUIRED, "the dataset", metavar="DATA", positional=True)
    color: str = option("none", "how colors change", choices=("none", "strong"))


COMMANDS = {"measure": Measure, "check": Check}


def test_each_command_has_settings_of_its_own():
    assert parse_command(COMMANDS, "A program.", ["measure", "--rounds", "3"]) == (
        "measure",
        Measure(rounds=3),
        {"rounds"},
    )
    assert parse_command(COMMANDS, "A program.", ["check", "folder"]) == ("check", Check(data="folder"), {"data"})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "a command is missing; one of measure, check"),
        ("mesure", "unknown command 'mesure': did you mean measure?"),
        ("check", "DATA is missing: the dataset"),
        ("check folder --rounds 3", "--rounds is a flag of measure, not of check"),
        ("check folder --rouds 3", "unknown flag '--rouds'"),
        ("check folder --colours strong", "--colours is now called --color"),  # vocabulary: old name
    ],
)
def test_command_error_says_what_would_be_right(line, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        parse_command(COMMANDS, "A program.", line.split())


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_command(COMMANDS, "A program.", ["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "Measure something." in text and "Check something." in text


def test_yaml_key_of_an_earlier_version_names_its_replacement(tmp_path):
    path = yaml_file(tmp_path, "colours: strong\n")  # vocabulary: old name
    with pytest.raises(UsageError, match="'colours' is now called 'color'"):  # vocabulary: old name
        parse(Check, "A program.", ["folder", "--config", str(path)])


@pytest.mark.parametrize(
    ("message", "spelled"),
    [
        ("`batch_size` must be 1", "--batch-size must be 1"),
        ("use `backbone='resnet50'`", "use --backbone resnet50"),
        ("use `amp=False` or `amp=True`", "use --no-amp or --amp"),
        ("`images` and `a b` are no settings", "`images` and `a b` are no settings"),
    ],
)
def test_messages_spell_settings_as_flags(message, spelled):
    assert spell_as_flags(message, fields_of(Settings)) == spelled


@pytest.mark.parametrize("named", ["python doctor.py fix DATA", "doctor.py fix DATA"])
def test_messages_of_the_installed_command_name_its_subcommands(named, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["detect evaluate"])
    assert spell_as_flags(f"run {named}", {}) == "run detect doctor fix DATA"
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    assert spell_as_flags(f"run {named}", {}) == f"run {named}"
