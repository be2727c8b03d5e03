"""Ctrl-C waits for a good moment, and the second one does not."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from detect.distributed import World
from detect.training.signals import Stops

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(autouse=True)
def heard():
    """What the handlers that were there before hear."""
    heard: list[int] = []
    former = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in STOPS}
    yield heard
    for number, handler in former.items():
        signal.signal(number, handler)


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # until Python looks


@pytest.mark.parametrize("number", STOPS)
def test_the_first_is_noted_and_comes_through_when_it_is_time(heard, number):
    with Stops() as stops:
        assert not stops.asked
        send(number)
        assert stops.asked == number and not heard
        with pytest.raises(KeyboardInterrupt):
            stops.now(number)
        assert heard == [number]


def test_a_second_one_comes_through_at_once_but_a_repetition_does_not(heard, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("detect.training.signals.time.monotonic", lambda: now[0])
    with pytest.raises(KeyboardInterrupt), Stops() as stops:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert stops.asked == signal.SIGINT and not heard
        now[0] += 2
        send(signal.SIGTERM)
        assert heard == [signal.SIGTERM]


def test_one_that_nobody_asked_about_comes_through_at_the_end(heard):
    with pytest.raises(KeyboardInterrupt), Stops():
        send(signal.SIGINT)
    assert heard == [signal.SIGINT]
    with pytest.raises(ValueError), Stops():  # an error goes first
        send(signal.SIGINT)
        raise ValueError


def test_what_another_process_was_asked_stops_this_one_too(heard):
    with pytest.raises(KeyboardInterrupt), Stops() as stops:
        stops.now(signal.SIGUSR1)


@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_processes_the_first_says_so(heard, monkeypatch, capfd, rank):
    monkeypatch.setattr("detect.training.signals.world", lambda: World(rank, 2))
    with pytest.raises(KeyboardInterrupt), Stops():
        send(signal.SIGTERM)
    assert ("stopping after this step" in capfd.readouterr().err) == (rank == 0)


def test_afterwards_all_is_as_before(heard):
    with Stops():
        pass
    send(signal.SIGINT)
    assert heard == [signal.SIGINT]


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stops() as stops:
        send(signal.SIGINT)
        assert not stops.asked
