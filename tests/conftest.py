"""Fixtures that many tests use."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fake_predictor import FakePredictor
from helpers.web_server import Server
from hypothesis import HealthCheck, settings

from detect import progress, runtime
from detect.cli.commands import train
from detect.cli.exit_status import exit_status
from detect.io import downloads
from detect.media.images import write_image
from detect.media.video_writer import VideoWriter

# A busy machine is slow.
settings.register_profile("without time limits", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without time limits")

# A shell starts background jobs with SIGINT ignored, and programs that the tests start and interrupt would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from more threads, and sums in another order differ in the last digit."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def settings_spelled_as_in_python() -> Iterator[None]:
    """Undo what a program that ran in this process set for its messages."""
    yield
    progress.spell_settings_with(str)
    progress.hide_bars(False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine, whose failures are tried again at once."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE_SECONDS", 0.0)
    with Server().running() as server:
        yield server


@pytest.fixture
def train_py(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run train.py's main in-process, as on a machine of one core that has no 16-bit numbers; its exit status."""
    monkeypatch.setattr(runtime, "available_cores", lambda: 1)
    monkeypatch.setattr(runtime, "cpu_has_bfloat16", lambda: False)

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        return exit_status(train.main)

    return call


@pytest.fixture
def predictor(monkeypatch):
    """A fake predictor that ``load_model`` returns; its ``asked`` holds the arguments of the call."""
    fake = FakePredictor()
    fake.asked = {}

    def load_model(model, **options):
        fake.asked.update(options, model=model)
        return fake

    monkeypatch.setattr("detect.inference.load.load_model", load_model)
    return fake


@pytest.fixture
def run_script(monkeypatch, tmp_path):
    """Run a script's main in-process with ``--output-dir tmp_path/out``; its exit status."""

    def call(script, *arguments) -> int:
        line = [script.__name__, *map(str, arguments), "--output-dir", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", line)
        return exit_status(script.main)

    return call


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with three images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i, name in enumerate(("a.png", "b.jpg", "c.png")):
        write_image(folder / name, np.full((40 + i, 60, 3), 80 * i, np.uint8))
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    """A video of ten gray frames."""
    path = tmp_path / "kite.mp4"
    with VideoWriter(path, Fraction(24000, 1001), (46, 62)) as out:
        for i in range(10):
            out.write(np.full((46, 62, 3), 20 * i, np.uint8))
    return path
