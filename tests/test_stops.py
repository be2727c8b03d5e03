"""Ctrl-C waits for a good moment, and the second one does not."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from detect.stops import Stops

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
        assert stops.asked is None
        send(number)
        assert stops.asked == number and not heard
        stops.now()
        assert heard == [number]


def test_a_second_one_comes_through_at_once(heard):
    with Stops() as stops:
        send(signal.SIGINT)
        send(signal.SIGTERM)
        assert stops.asked == signal.SIGTERM and heard == [signal.SIGTERM]


def test_afterwards_all_is_as_before(heard):
    with Stops():
        pass
    send(signal.SIGINT)
    assert heard == [signal.SIGINT]


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stops() as stops:
        send(signal.SIGINT)
        assert stops.asked is None
