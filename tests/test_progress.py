"""Progress bars and messages."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from tqdm._monitor import TMonitor

from detect import progress
from detect.cli.exit_status import exit_status
from detect.data.synthetic.datasets import render_dataset
from detect.io.downloads import fetch


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def terminal() -> Iterator[Terminal]:
    """A terminal as stdout and stderr. No fixture, since pytest sets both again before it calls a test."""
    screen = Terminal()
    with redirect_stdout(screen), redirect_stderr(screen):
        yield screen


def shown_lines(text: str) -> list[str]:
    """Return the lines that remain on a screen after this text."""
    lines = []
    for line in text.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


@pytest.fixture(params=[False, True])
def hidden(request):
    progress.hide_bars(request.param)
    yield request.param
    progress.hide_bars(False)


def work(server, folder) -> None:
    """Do three kinds of work that show a bar."""
    list(progress.bar(range(3), desc="counting"))
    fetch(server.url("model.bin"), folder)
    render_dataset("shapes", folder / "shapes", 0)


def test_bars_are_shown_unless_they_are_hidden(server, tmp_path, hidden):
    with terminal() as screen:
        work(server, tmp_path)
    output = screen.getvalue()
    if hidden:
        assert output == ""
    else:
        assert "counting" in output and "model.bin" in output and "rendering shapes" in output


def test_training_bar_shows_its_own_text_within_the_width():
    usual = {"mininterval": 0, "dynamic_ncols": False, "ncols": 60}
    with terminal() as screen:
        bar = progress.bar(range(2), desc="epoch 3/60", bar_format=progress.TRAINING, **usual)
        for _ in bar:
            bar.set_postfix_str("loss 1.234, 57 min left, 2.1 GB, lr 1.0e-02, mask 0.4")
    lines = screen.getvalue().split("\r")
    assert any(line.startswith("epoch 3/60  50%|") and "| 1/2, loss 1.234, 57 min left" in line for line in lines)
    assert max(map(len, lines)) <= 60


def test_messages_are_spelled_as_the_program_asks(capsys):
    progress.spell_settings_with(lambda text: text.replace("`imgsz`", "--imgsz"))
    progress.report("`imgsz` is 480")
    progress.warn("`imgsz` is small")
    assert capsys.readouterr() == ("--imgsz is 480\n", "warning: --imgsz is small\n")


@pytest.mark.parametrize(("total", "is_shown"), [(3, False), (4, True), (None, True)])
def test_bar_is_shown_from_a_minimum_number_of_items(total, is_shown):
    with terminal() as screen, progress.bar(total=total, min_items=4, mininterval=0, desc="work") as bar:
        bar.update()
    assert ("work" in screen.getvalue()) is is_shown
    with progress.bar(total=3, min_items=4, disable=True) as bar:
        assert bar.disable


def test_printed_lines_do_not_join_a_bar_of_the_same_terminal():
    with terminal() as screen, progress.bar(total=3, desc="work", mininterval=0) as bar:
        bar.update()
        progress.warn("one")
        bar.update()
        progress.report("two")
        bar.update()
    assert "work" in screen.getvalue() and shown_lines(screen.getvalue()) == ["warning: one", "two", ""]


@pytest.mark.parametrize("leave", [True, False])
def test_an_error_does_not_join_a_bar(leave):
    def main() -> None:
        bar = progress.bar(total=3, desc="work", mininterval=0, leave=leave)
        bar.update()
        raise KeyboardInterrupt("stopped after 1 of 3")

    with terminal() as screen:
        assert exit_status(main) == 130
    assert "work" in screen.getvalue() and shown_lines(screen.getvalue()) == ["stopped after 1 of 3", ""]


@pytest.mark.parametrize("piped", ["stderr", "stdout"])
@pytest.mark.parametrize("arguments", [{}, {"desc": "work"}, {"desc": "work", "bar_format": progress.TRAINING}])
@pytest.mark.parametrize("total", [3, None])
def test_piped_output_has_only_whole_lines_and_only_of_long_work(monkeypatch, piped, arguments, total):
    reading, writing = os.pipe()
    pipe, screen = os.fdopen(writing, "w"), Terminal()
    monkeypatch.setattr(sys, "stdout", pipe if piped == "stdout" else screen)
    monkeypatch.setattr(sys, "stderr", pipe if piped == "stderr" else screen)
    for seconds in (30.0, 0.0):
        monkeypatch.setattr(progress, "_LOG_SECONDS", seconds)
        with progress.bar(total=total, leave=True, unit="frame", **arguments) as bar:
            for _ in range(3):
                bar.set_postfix_str("loss 1.2", refresh=False)
                bar.update()
                progress.warn("one")
    pipe.close()
    with os.fdopen(reading) as file:
        text = file.read() + screen.getvalue()
    assert "\r" not in text and "\x1b" not in text and text.endswith("\n")
    lines = [line for line in text.splitlines() if line != "warning: one"]
    assert text.splitlines()[:3] == ["warning: one"] * 3 and 3 <= len(lines) <= 4
    assert all(line == line.strip() and ("2/" in line) <= ("loss 1.2" in line) for line in lines)
    assert all(line.startswith("work") == bool(arguments) and "|" not in line for line in lines)


def test_lines_of_a_log_count_up_and_none_is_repeated(monkeypatch):
    monkeypatch.setattr(progress, "_LOG_SECONDS", 0.08)
    log = io.StringIO()
    monitor = TMonitor(progress.tqdm, 0.01)  # as tqdm runs it, with shorter intervals
    try:
        with redirect_stderr(log):
            for _ in progress.bar(range(300), desc="work", maxinterval=0.02):
                time.sleep(0.001)
    finally:
        monitor.exit()
    counts = [int(count) for count in re.findall(r"(\d+)/300", log.getvalue())]
    assert 2 <= len(counts) == len(set(counts)) and counts == sorted(counts)
