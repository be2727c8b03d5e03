"""Ctrl-C waits for the end of the step; a second one does not."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from detect.distributed import World
from detect.training.signals import DeferredInterrupt

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else ()


@pytest.fixture(autouse=True)
def handled():
    """Signals that reach the handlers that were installed before."""
    handled: list[int] = []
    former = {number: signal.signal(number, lambda number, _: handled.append(number)) for number in SIGNALS}
    yield handled
    for number, handler in former.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # until Python runs the handler


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_recorded_and_raised_on_request(handled, number):
    with DeferredInterrupt() as interrupt:
        assert not interrupt.requested
        send(number)
        assert interrupt.requested == number and not handled
        with pytest.raises(KeyboardInterrupt):
            interrupt.raise_now(number)
        assert handled == [number]


def test_a_second_signal_is_handled_immediately_unless_it_follows_within_a_second(handled, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("detect.training.signals.time.monotonic", lambda: now[0])
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt() as interrupt:
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert interrupt.requested == signal.SIGINT and not handled
        now[0] += 2
        send(signal.SIGTERM)
        assert handled == [signal.SIGTERM]


def test_a_pending_signal_is_raised_at_the_end_of_the_block(handled):
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt():
        send(signal.SIGINT)
    assert handled == [signal.SIGINT]
    with pytest.raises(ValueError, match="first"), DeferredInterrupt():
        send(signal.SIGINT)
        raise ValueError("first")


def test_a_signal_that_another_process_received_can_be_raised(handled):
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt() as interrupt:
        interrupt.raise_now(signal.SIGUSR1)


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_reports_that_it_stops(handled, monkeypatch, capfd, rank):
    monkeypatch.setattr("detect.training.signals.world", lambda: World(rank, 2))
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt():
        send(signal.SIGINT)
    assert ("stopping after this step" in capfd.readouterr().err) == (rank == 0)


def test_the_end_of_other_processes_is_not_reported_as_an_interrupt(handled, monkeypatch, capfd):
    monkeypatch.setattr("detect.training.signals.world", lambda: World(0, 2))
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt():
        send(signal.SIGTERM)
    assert not capfd.readouterr().err


def test_the_former_handlers_are_restored(handled):
    with DeferredInterrupt():
        pass
    send(signal.SIGINT)
    assert handled == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DeferredInterrupt() as interrupt:
        send(signal.SIGINT)
        assert not interrupt.requested
