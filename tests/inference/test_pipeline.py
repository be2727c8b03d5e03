"""Stages in threads: order, bounded queues, and exceptions in any of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from detect.inference.pipeline import ReadAhead, Stage


class Numbers:
    """0, 1, 2 ... up to ``count``; ``read`` holds those that were read, and ``fails`` one that raises ValueError."""

    def __init__(self, count: int, fails: int | None = None) -> None:
        self.count, self.fails = count, fails
        self.read: list[int] = []

    def __iter__(self) -> Iterator[int]:
        for number in range(self.count):
            if number == self.fails:
                raise ValueError(number)
            self.read.append(number)
            yield number


@pytest.mark.parametrize("size", [0, 1, 4])
def test_items_are_read_in_order_and_only_a_few_in_advance(size):
    numbers, most = Numbers(50), 0
    with ReadAhead(numbers, size) as items:
        for number in items:
            assert number <= numbers.read[-1] <= number + size + 1
            most = max(most, numbers.read[-1] - number)
            if number == 20:
                break
    assert len(numbers.read) <= 20 + 1 + size + 1, "reading ends with the block"
    with ReadAhead(Numbers(9), size) as items:
        assert list(items) == list(range(9)) and list(items) == []


def test_with_size_0_an_item_is_read_when_it_is_needed():
    numbers = Numbers(9)
    with ReadAhead(numbers, 0) as items:
        reading = iter(items)
        assert next(reading) == 0 and numbers.read == [0]
        assert next(reading) == 1 and numbers.read == [0, 1]


def test_an_exception_while_reading_is_raised_after_the_items_before_it():
    found = []
    with pytest.raises(ValueError, match="7"), ReadAhead(Numbers(20, fails=7), 3) as items:
        found.extend(items)
    with pytest.raises(ValueError, match="7"), ReadAhead(Numbers(20, fails=7), 3) as items:
        for number in items:
            found.append(number)
    assert found[-7:] == list(range(7))


def test_stages_work_in_order_in_threads_of_their_own():
    found, threads = [], set()

    def double(number: int) -> None:
        threads.add(threading.get_ident())
        last.put(2 * number)

    def collect(number: int) -> None:
        threads.add(threading.get_ident())
        found.append(number)

    with Stage(collect) as last, Stage(double) as first:
        for number in range(100):
            first.put(number)
    assert found == list(range(0, 200, 2))
    assert len(threads | {threading.get_ident()}) == 3


def test_a_stage_that_is_slow_makes_the_one_before_it_wait():
    may_go, done = threading.Semaphore(0), []

    def work(number: int) -> None:
        may_go.acquire()
        done.append(number)

    with Stage(work, size=2) as stage:
        feeder = threading.Thread(target=lambda: [stage.put(number) for number in range(9)])
        feeder.start()
        may_go.release()
        feeder.join(0.2)
        assert feeder.is_alive(), "at most two wait"
        for _ in range(9):
            may_go.release()
        feeder.join()
    assert done == list(range(9))


@pytest.mark.parametrize("failing", ["first", "last"])
@pytest.mark.parametrize("number_of_items", [4, 40])
def test_a_failing_stage_ends_all_of_them_and_keeps_what_was_done(failing, number_of_items):
    found = []

    def work(name: str, number: int) -> None:
        if name == failing and number == 3:
            raise ValueError(name)
        last.put(number) if name == "first" else found.append(number)

    with (
        pytest.raises(ValueError, match=failing),
        Stage(lambda number: work("last", number)) as last,
        Stage(lambda number: work("first", number)) as first,
    ):
        for number in range(number_of_items):
            first.put(number)
    assert found == [0, 1, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_items_before_an_exception_of_the_block_are_still_processed(error):
    found = []
    with pytest.raises(error), Stage(found.append, size=8) as last, Stage(last.put, size=8) as first:
        for number in range(5):
            first.put(number)
        raise error
    assert found == [0, 1, 2, 3, 4]
