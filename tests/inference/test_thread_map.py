"""A function in several threads: order, number of items in memory, failures, and an early end."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from detect.inference.thread_map import thread_map


@pytest.mark.parametrize("eager", [True, False])
def test_results_come_in_order_whatever_each_takes(eager):
    def wait(number: int) -> int:
        time.sleep(0.002 * (number % 4))
        return number

    assert list(thread_map(wait, range(40), threads=3, ahead=2, eager=eager)) == list(range(40))
    assert list(thread_map(wait, [], threads=3, ahead=2, eager=eager)) == []


def test_calls_run_at_the_same_time():
    both = threading.Barrier(2, timeout=60)
    assert len(list(thread_map(lambda _: both.wait(), range(6), threads=2, ahead=0))) == 6


@pytest.mark.parametrize("eager", [True, False])
def test_items_are_taken_no_further_ahead_than_allowed(eager):
    taken = yielded = 0

    def items():
        nonlocal taken
        for number in range(30):
            taken += 1
            assert taken - yielded <= 5
            yield number

    for _ in thread_map(str, items(), threads=2, ahead=3, eager=eager):
        yielded += 1
    assert yielded == 30


def test_a_result_is_yielded_before_a_slow_item_is_taken():
    order = []

    def items():
        for number in range(3):
            time.sleep(0.1)
            order.append(f"taken {number}")
            yield number

    for number in thread_map(int, items(), threads=2, ahead=8, eager=True):
        order.append(f"yielded {number}")
    assert order.index("yielded 0") < order.index("taken 2")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["items", "function"])
def test_the_other_results_come_before_an_exception(error, where):
    def items():
        for number in range(9):
            if where == "items" and number == 4:
                raise error
            yield number

    def function(number: int) -> int:
        if where == "function" and number == 4:
            raise error
        return number

    results = []
    with pytest.raises(error):
        for result in thread_map(function, items(), threads=2, ahead=2):
            results.append(result)
    assert results[:4] == [0, 1, 2, 3] and 4 not in results and len(results) < 9


def test_an_early_end_completes_running_calls_and_drops_waiting_ones():
    done = []

    def work(number: int) -> int:
        time.sleep(0.02)
        done.append(number)
        return number

    with closing(thread_map(work, range(100), threads=2, ahead=20)) as results:
        assert next(results) == 0
    count = len(done)
    assert 0 < count < 20
    time.sleep(0.1)
    assert len(done) == count
