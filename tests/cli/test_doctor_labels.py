"""doctor.py check --model: suspected annotation errors beside the report, with the exit status of the report."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.planted_problems import SPLITS, load, save, write_clean
from helpers.tiny_models import as_checkpoint, random_model

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.models import checkpoint
from detect.structures.class_names import ClassNames


@pytest.fixture
def folder(tmp_path):
    write_clean(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """Return a function that writes a checkpoint of a model with these three classes."""

    def write(*names: str):
        path = tmp_path_factory.mktemp("models") / "model.safetensors"
        checkpoint.save(as_checkpoint(random_model(), classes=ClassNames(names)), path)
        return path

    return write


def check(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["doctor.py", "check", *map(str, arguments)])
    return exit_status(doctor.main)


@pytest.mark.slow
def test_lists_and_sheets_are_written_beside_the_report(folder, model_file, tmp_path, monkeypatch, capsys):
    arguments = (
        folder,
        "--model",
        model_file("kite", "bird", "x"),
        "--output-dir",
        tmp_path / "out",
        "--device",
        "cpu",
    )
    assert check(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "set: no errors or warnings" in printed and "annotation errors suspected by" in printed
    assert (tmp_path / "out" / "set" / "suspects.csv").is_file()
    assert (tmp_path / "out" / "set" / "suspects.json").is_file()


def test_json_holds_the_suspects_and_nothing_else_is_printed(folder, model_file, tmp_path, monkeypatch, capsys):
    path = model_file("kite", "bird", "x")
    assert check(monkeypatch, folder, "--json", "--model", path, "--output-dir", tmp_path / "out") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["label_errors"]["dataset"] == "set" and content["worst_severity"] is None


def test_a_model_without_any_class_of_the_dataset_is_refused_before_the_check(
    folder, model_file, tmp_path, monkeypatch, capsys
):
    path = model_file("cat", "dog", "cow")
    assert check(monkeypatch, folder, "--model", path, "--output-dir", tmp_path / "out") == 2
    printed = capsys.readouterr()
    assert "no problems" not in printed.out
    assert printed.err.count("\n") == 1 and "no class in common" in printed.err
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_annotations_is_one_line(folder, model_file, tmp_path, monkeypatch, capsys):
    for split in SPLITS:
        save(folder, split, load(folder, split) | {"annotations": []})
    path = model_file("kite", "bird", "x")
    assert check(monkeypatch, folder, "--model", path, "--output-dir", tmp_path / "out") == 2
    assert "no annotations that a model could be compared with" in capsys.readouterr().err
    assert not (tmp_path / "out" / "set").exists()


def test_an_unknown_model_is_one_line(folder, monkeypatch, capsys):
    assert check(monkeypatch, folder, "--model", "ballon") == 2
    assert "did you mean balloon" in capsys.readouterr().err
