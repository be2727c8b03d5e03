"""Images that take long to read are named, once, by the process that reads them."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator

import pytest
from helpers.tiny_models import make_image, render_shapes

from detect.data import backgrounds, slow_reading
from detect.data.description import find_spec
from detect.data.digests import image_digests
from detect.data.slow_reading import name_slow
from detect.data.validation import image_headers
from detect.media.images import write_image


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


@pytest.mark.parametrize("what", ["headers", "digests", "backgrounds"])
def test_slow_images_are_named_before_the_first_step(tmp_path, monkeypatch, capsys, what):
    table = find_spec(str(render_shapes(tmp_path, {"train": 8, "val": 2}))).read("train")[1]
    path = tmp_path / "more" / "a.png"
    path.parent.mkdir()
    write_image(path, make_image((16, 16), 0))

    def slow(*_: object) -> tuple[int, int]:
        time.sleep(1.5)
        return (8, 8)

    monkeypatch.setattr(image_headers, "_header", slow)
    monkeypatch.setattr(backgrounds, "image_hw", slow)
    if what == "headers":
        image_headers.read_headers(table)
    elif what == "digests":
        image_digests([path], slow)
    else:
        backgrounds.with_backgrounds(table, str(path.parent), [])
    assert "reading images takes more than" in capsys.readouterr().err
