"""Images that take long to read are named, once, by the process that reads them."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator

import pytest

from detect.data import slow_reading
from detect.data.slow_reading import name_slow


@pytest.fixture(autouse=True)
def soon(monkeypatch) -> None:
    monkeypatch.setattr(slow_reading, "SLOW_SECONDS", 0.4)


def results(*seconds: float) -> Iterator[float]:
    for one in seconds:
        time.sleep(one)
        yield one


def test_the_slow_result_is_named_once(capsys):
    assert list(name_slow(results(0, 1.5, 0), lambda i: [f"{i}.jpg"])) == [0, 1.5, 0]
    assert capsys.readouterr().err == "warning: reading images takes more than 0 s: 1.jpg\n"


def test_the_time_of_the_caller_does_not_count(capsys):
    for _ in name_slow(results(0, 0), lambda i: [f"{i}.jpg"]):
        time.sleep(1)
    assert capsys.readouterr().err == ""


def test_a_process_with_hidden_stderr_names_slow_images_too(monkeypatch, capsys):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", shown)
    monkeypatch.setenv("RANK", "1")
    list(name_slow(results(1.5), lambda i: ["a.jpg"]))
    assert shown.getvalue() == "warning: process 1: reading images takes more than 0 s: a.jpg\n"
    assert capsys.readouterr().err == ""


def test_errors_pass_through():
    with pytest.raises(ZeroDivisionError):
        list(name_slow((1 / number for number in (1, 0)), lambda i: []))
