"""A function applied to many items in threads."""

from __future__ import annotations

import threading
import time

import pytest

from detect.io.threads import map_in_threads


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 500])
@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_results_are_in_order(count, seconds):
    assert list(map_in_threads(lambda i: time.sleep(seconds) or i, range(count), 4)) == list(range(count))


def test_slow_items_are_shared_by_threads():
    names = set()
    list(map_in_threads(lambda _: time.sleep(0.001) or names.add(threading.current_thread().name), range(700), 3))
    assert len(names) == 1 + 3  # the first ones were done here


def test_an_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(lambda i: time.sleep(0.001) or 1 / (500 - i), range(700), 2))
