"""evaluate.py --selftest prints a line for each test and says in its exit status whether one failed."""

from __future__ import annotations

import sys

import pytest
from helpers.selftest import ColorDetector, write_rectangles

from detect import runtime
from detect.cli.commands import evaluate
from detect.cli.exit_status import exit_status
from detect.structures.class_names import ClassNames


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rectangles(tmp_path_factory.mktemp("rectangles"), 6)


@pytest.fixture
def run(monkeypatch, data):
    """Run evaluate.py --selftest in-process with a detector that works; its exit status."""
    monkeypatch.setattr(runtime, "available_cores", lambda: 1)
    monkeypatch.setattr("detect.evaluation.evaluate.load_model", lambda *_, **__: ColorDetector())

    def call(*arguments: object) -> int:
        line = ["evaluate.py", "--selftest", "--data", data, "--split", "val", "--quiet", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in line])
        return exit_status(evaluate.main)

    return call


def test_a_line_for_each_test_is_printed_and_nothing_is_written(run, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--selftest-images", 4) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == "self-test of balloon on rectangles val" and last == "no test failed"
    assert len(lines) == 14 and {line[:5] for line in lines} == {"ok   ", "skip "}
    assert "all of 12 detections the same" in next(line for line in lines if "shuffled images" in line)
    assert not list(tmp_path.iterdir())


def test_a_failed_test_is_exit_status_3(run, capsys, monkeypatch):
    monkeypatch.setattr(ClassNames, "category_id", lambda _, label: label)
    assert run() == 3
    printed = capsys.readouterr().out
    assert "\nFAIL class names and ids: " in printed and printed.endswith("\n1 test failed\n")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--report"], "--report is for an evaluation; leave it out, or leave out --selftest"),
        (["--compare", "v1"], "--compare is for an evaluation"),
        (["--selftest-images", "0"], "--selftest-images 0 must be at least 1"),
        (["--split", "test"], "unknown split 'test': known are val"),
    ],
)
def test_user_errors_are_one_line(run, capsys, flags, words):
    assert run(*flags) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and words in printed.err and printed.err.count("\n") == 1
    assert not printed.out
