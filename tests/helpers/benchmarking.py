"""Running benchmark.py in this process."""

from __future__ import annotations

import sys

import pytest

import benchmark
from detect.cli.exit_status import exit_status


def run_benchmark(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run benchmark.py with these arguments and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
    return exit_status(benchmark.main)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only line on stderr, which must be an error."""
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1
    return text
