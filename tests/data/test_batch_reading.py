"""Reading of batches: slow or stuck images are named, dead worker processes explained."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.folders import ROOT
from torch.utils.data import Dataset

from detect.data import batch_reading, slow_reading
from detect.data.batch_reading import data_loader, dead_worker, read_batches
from detect.data.image_problems import UnreadableImageError
from detect.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core


class Items(Dataset):
    """Item i is i; -1 is damaged; a string waits so many seconds; None kills the process that reads it."""

    def __getitem__(self, key: int | str | None) -> int:
        if key == -1:
            raise UnreadableImageError("a.jpg is damaged")
        if key is None:
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(key, str):
            time.sleep(float(key))
            return -1
        return key


def read(batches: list, workers: int = 0) -> list[list[int]]:
    loader = data_loader(Items(), batches, workers, list, pinned=False)
    return list(read_batches(loader, lambda i: [f"{i}.jpg"]))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_read_in_order(workers):
    assert read([[0, 1], [2], [3, 4]], workers) == [[0, 1], [2], [3, 4]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_an_image_has_its_own_message(workers):
    with pytest.raises(UnreadableImageError) as raised:
        read([[0], [-1]], workers)
    assert str(raised.value) == "a.jpg is damaged"


@pytest.mark.parametrize("key", [-1, "no number"])
def test_no_worker_process_is_left_after_an_error(key):
    before = set(multiprocessing.active_children())
    with pytest.raises((UnreadableImageError, ValueError)) as raised:  # keeps the loader
        read([[0], [key]], workers=1)
    assert raised.value and set(multiprocessing.active_children()) <= before


PROGRAM = """
import signal, sys, threading, time
from torch.utils.data import Dataset
from detect.data.batch_reading import data_loader, read_batches

class Items(Dataset):
    def __getitem__(self, key):
        if key:
            time.sleep(1000)
        return key

batches = read_batches(data_loader(Items(), [[0], [0], [int(sys.argv[1])]], 1, list), lambda i: [f"{i}.jpg"])
next(batches), next(batches)
if sys.argv[1] == "0":
    raise RuntimeError("a bug")
threading.Timer(1, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
next(batches)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("stuck", "error"), [("0", "RuntimeError: a bug"), ("1", "KeyboardInterrupt")])
def test_a_program_with_worker_processes_ends_after_an_error(stuck, error):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stuck], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode and done.stderr.strip().endswith(error), done.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_a_slow_image_is_named_once(monkeypatch, capsys, workers):
    monkeypatch.setattr(slow_reading, "SLOW_SECONDS", 0.5)
    assert read([["0"], ["1.5"], ["0"]], workers) == [[-1]] * 3
    assert capsys.readouterr().err.count(" s: 1.jpg") == 1


def test_images_that_are_never_read_are_named(monkeypatch):
    monkeypatch.setattr(batch_reading, "STUCK_SECONDS", 1)
    with pytest.raises(DataError, match=r"no image could be read for 1 s; the next ones are 1\.jpg"):
        read([["0"], ["3"]], workers=1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_worker_process_is_explained():
    with pytest.raises(RuntimeError) as raised:
        read([[0], [None], [0]], workers=1)
    assert "memory runs out; fewer `workers`" in dead_worker(raised.value)


def test_other_errors_are_not_those_of_a_worker():
    assert dead_worker(RuntimeError("a bug")) == ""
