"""How long a run takes yet and what memory it has, in figures and in words."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.folders import ROOT

from detect.training.logging import progress
from detect.training.logging.progress import Pace, epoch_line, in_words, memory_bytes, memory_in_words, step_line


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take_steps(run: Pace, clock: Clock, count: int, seconds: float) -> None:
    for _ in range(count):
        clock.now += seconds
        run.step()


def validate(run: Pace, clock: Clock, seconds: float) -> None:
    with run.validation():
        clock.now += seconds


def test_a_run_of_even_pace_knows_its_end_all_the_time(clock):
    run = Pace(epochs=3, steps=10, clock=clock)
    end = 100 + 3 * (10 * 2 + 7)
    assert run.seconds_left is None and run.left() == ""
    for epoch in range(3):
        run.begin_epoch(epoch)
        take_steps(run, clock, 10, 2)
        if epoch:
            assert run.seconds_left == pytest.approx(end - clock.now)
        validate(run, clock, 7)
        assert run.seconds_left == pytest.approx(end - clock.now)
    assert run.seconds_left == 0


def test_before_the_first_validation_the_end_is_later_than_said(clock):
    run = Pace(epochs=2, steps=60, clock=clock)
    run.begin_epoch(0)
    take_steps(run, clock, 30, 2)
    assert run.left() == "over 3 min left"
    take_steps(run, clock, 30, 2)
    validate(run, clock, 30)
    assert run.left() == "2 min 30 s left"


def test_a_run_that_goes_on_has_its_last_epochs_left(clock):
    run = Pace(epochs=10, steps=5, clock=clock)
    run.begin_epoch(8)
    take_steps(run, clock, 1, 4)
    assert run.seconds_left == 9 * 4
    run.begin_epoch(8, steps=3)
    take_steps(run, clock, 1, 4)
    assert run.seconds_left == 6 * 4


def test_what_lies_between_two_epochs_is_no_step(clock):
    run = Pace(epochs=2, steps=1, clock=clock)
    run.begin_epoch(0)
    take_steps(run, clock, 1, 4)
    clock.now += 1000
    run.begin_epoch(1)
    assert run.seconds_left == 4


def test_the_pace_is_that_of_the_last_steps(clock):
    run = Pace(epochs=1, steps=1000, clock=clock)
    run.begin_epoch(0)
    take_steps(run, clock, 1, 500)
    take_steps(run, clock, 199, 1)
    assert run.seconds_left == 800


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0 s"), (0.4, "0 s"), (-3, "0 s"), (42.4, "42 s"), (59.6, "1 min"), (62, "1 min 2 s"), (3420, "57 min")),
        *((3599.7, "1 h"), (3629, "1 h"), (7199, "2 h"), (11100, "3 h 5 min"), (86399, "1 d"), (187200, "2 d 4 h")),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds, words):
    assert in_words(seconds) == words


GROW = """
from detect.training.logging.progress import memory_bytes
before = memory_bytes()
block = bytearray(200_000_000)
block[::4096] = b"x" * len(block[::4096])
held = memory_bytes()
del block
print(before, held, memory_bytes())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not told there")
def test_memory_is_what_the_process_has_had_at_most():
    large = bytearray(300_000_000)  # which what it starts has nothing to do with
    large[::4096] = b"x" * len(large[::4096])
    done = subprocess.run([sys.executable, "-c", GROW], cwd=ROOT, capture_output=True, text=True, check=True)
    before, held, freed = map(int, done.stdout.split())
    assert 150e6 < held - before < 250e6 and freed == pytest.approx(held, rel=0.02)
    assert before < 100e6 or sys.platform != "linux"


def test_memory_is_known_without_proc_and_unknown_without_more(monkeypatch):
    known = memory_bytes()

    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(progress.Path, "read_text", absent)
    if sys.platform != "win32":
        assert memory_bytes() == pytest.approx(known, rel=0.5)
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory_bytes() is None


def test_memory_of_a_gpu_is_what_torch_says(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {"cuda:1": 7}.get)
    assert memory_bytes("cuda:1") == 7


def test_memory_is_told_in_gb():
    assert memory_in_words(2_140_000_000) == "2.1 GB" and memory_in_words(None) == ""


LOSSES = {"loss_classifier": 0.25, "loss_box_reg": 0.5, "loss": 0.75}


def test_a_narrow_terminal_shows_what_matters_most():
    line = step_line(LOSSES, 0.01, "57 min left", 2_100_000_000)
    assert line == "loss 0.750, 57 min left, 2.1 GB, lr 1.0e-02, classifier 0.250, box_reg 0.500"
    assert step_line({"loss": 2.0}, 1e-5, "", None) == "loss 2.000, lr 1.0e-05"


def test_an_epoch_is_one_line():
    row = {"epoch": 3, "seconds": 62.3, "losses": LOSSES, "val_losses": {"loss": 1.1}, "memory": 2_100_000_000}
    told = "epoch 3/60  loss 0.750  val loss 1.100  bbox AP 0.431  best  1 min 2 s an epoch, 57 min left, 2.1 GB"
    assert epoch_line(row, 60, "bbox AP 0.431", "57 min left", is_best=True) == told
    old = {"epoch": 60, "seconds": 7, "losses": LOSSES}
    assert epoch_line(old, 60, "AP -", "0 s left", is_best=False) == "epoch 60/60  loss 0.750  AP -  7 s an epoch"
