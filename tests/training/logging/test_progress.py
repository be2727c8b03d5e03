"""Remaining time, memory use and the lines of a run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.folders import ROOT

from detect.training.logging import progress
from detect.training.logging.progress import (
    EtaEstimator,
    duration_in_words,
    epoch_line,
    memory_in_words,
    peak_memory_bytes,
    step_line,
)


class Clock:
    """Clock whose seconds the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def take_steps(eta: EtaEstimator, clock: Clock, count: int, seconds: float) -> None:
    for _ in range(count):
        clock.now += seconds
        eta.step_done()


def validate(eta: EtaEstimator, clock: Clock, seconds: float) -> None:
    with eta.validation():
        clock.now += seconds


def test_the_end_of_a_run_with_even_steps_is_known_exactly(clock):
    eta = EtaEstimator(epochs=3, steps=10, clock=clock)
    end = 100 + 3 * (10 * 2 + 7)
    assert eta.seconds_left is None and eta.left() == ""
    for epoch in range(3):
        eta.start_epoch(epoch)
        take_steps(eta, clock, 10, 2)
        if epoch:
            assert eta.seconds_left == pytest.approx(end - clock.now)
        validate(eta, clock, 7)
        assert eta.seconds_left == pytest.approx(end - clock.now)
    assert eta.seconds_left == 0


def test_before_the_first_validation_the_time_is_a_lower_limit(clock):
    eta = EtaEstimator(epochs=2, steps=60, clock=clock)
    eta.start_epoch(0)
    take_steps(eta, clock, 30, 2)
    assert eta.left() == "at least 3 min left"
    take_steps(eta, clock, 30, 2)
    validate(eta, clock, 30)
    assert eta.left() == "2 min 30 s left"


def test_a_resumed_run_has_only_its_last_epochs_left(clock):
    eta = EtaEstimator(epochs=10, steps=5, clock=clock)
    eta.start_epoch(8)
    take_steps(eta, clock, 1, 4)
    assert eta.seconds_left == 9 * 4
    eta.start_epoch(8, finished_steps=3)
    take_steps(eta, clock, 1, 4)
    assert eta.seconds_left == 6 * 4


def test_time_between_epochs_is_not_part_of_a_step(clock):
    eta = EtaEstimator(epochs=2, steps=1, clock=clock)
    eta.start_epoch(0)
    take_steps(eta, clock, 1, 4)
    clock.now += 1000
    eta.start_epoch(1)
    assert eta.seconds_left == 4


def test_the_last_steps_determine_the_prediction(clock):
    eta = EtaEstimator(epochs=1, steps=1000, clock=clock)
    eta.start_epoch(0)
    take_steps(eta, clock, 1, 500)
    take_steps(eta, clock, 199, 1)
    assert eta.seconds_left == 800


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0 s"), (0.4, "0 s"), (-3, "0 s"), (42.4, "42 s"), (59.6, "1 min"), (62, "1 min 2 s"), (3420, "57 min")),
        *((3599.7, "1 h"), (3629, "1 h"), (7199, "2 h"), (11100, "3 h 5 min"), (86399, "1 d"), (187200, "2 d 4 h")),
    ],
)
def test_durations_have_at_most_two_units(seconds, words):
    assert duration_in_words(seconds) == words


ALLOCATE = """
from detect.training.logging.progress import peak_memory_bytes
before = peak_memory_bytes()
block = bytearray(200_000_000)
block[::4096] = b"x" * len(block[::4096])
held = peak_memory_bytes()
del block
print(before, held, peak_memory_bytes())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not reported there")
def test_peak_memory_is_that_of_the_process_itself():
    large = bytearray(500_000_000)  # of the parent process, which must not count
    large[::4096] = b"x" * len(large[::4096])
    done = subprocess.run([sys.executable, "-c", ALLOCATE], cwd=ROOT, capture_output=True, text=True, check=True)
    before, held, freed = map(int, done.stdout.split())
    assert 150e6 < held - before < 250e6 and freed == pytest.approx(held, rel=0.02)
    assert before < peak_memory_bytes() - 300e6 or sys.platform != "linux"


def test_peak_memory_without_proc_and_without_resource(monkeypatch):
    known = peak_memory_bytes()

    def absent(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(progress.Path, "read_text", absent)
    if sys.platform != "win32":
        assert peak_memory_bytes() == pytest.approx(known, rel=0.5)
    monkeypatch.setattr(progress, "resource", None)
    assert peak_memory_bytes() is None


def test_peak_memory_of_a_gpu_is_that_of_torch(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", {"cuda:1": 7}.get)
    assert peak_memory_bytes("cuda:1") == 7


def test_memory_is_shown_in_gb():
    assert memory_in_words(2_140_000_000) == "2.1 GB" and memory_in_words(None) == ""


LOSSES = {"loss_classifier": 0.25, "loss_box_reg": 0.5, "loss": 0.75}


def test_the_step_line_has_the_most_important_values_first():
    line = step_line(LOSSES, 0.01, "57 min left", 2_100_000_000)
    assert line == "loss 0.750, 57 min left, 2.1 GB, lr 1.0e-02, classifier 0.250, box_reg 0.500"
    assert step_line({"loss": 2.0}, 1e-5, "", None) == "loss 2.000, lr 1.0e-05"


def test_the_epoch_line_has_losses_scores_time_and_memory():
    row = {"epoch": 3, "seconds": 62.3, "losses": LOSSES, "val_losses": {"loss": 1.1}, "memory_bytes": 2_100_000_000}
    expected = "epoch 3/60  loss 0.750  val loss 1.100  bbox AP 0.431  best  1 min 2 s per epoch, 57 min left, 2.1 GB"
    assert epoch_line(row, 60, "bbox AP 0.431", "57 min left", is_best=True) == expected
    last = {"epoch": 60, "seconds": 7, "losses": LOSSES}
    assert epoch_line(last, 60, "AP -", "0 s left", is_best=False) == "epoch 60/60  loss 0.750  AP -  7 s per epoch"
