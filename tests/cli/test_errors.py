"""Errors: what the user can mend is one clear line and status 2; our own bugs show themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.folders import ROOT
from torch.utils.data import DataLoader, Dataset

from detect import errors
from detect.cli.exit_status import exit_status
from detect.errors import DataError, DetectError, UsageError
from detect.progress import warn
from detect.text import first_few, unknown


def raises(error: BaseException):
    def main() -> None:
        raise error

    return main


class Broken(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise DataError(f"a.json: annotation 7 of image {index}: its box has no area")


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("resnet5", "did you mean resnet50"),
        ("RESNET50", "did you mean resnet50"),
        ("zebra", "known are resnet50, vov"),
    ],
)
def test_an_unknown_name_brings_its_neighbours(typed, near):
    said = unknown("backbone", typed, ["resnet50", "vovnet19"])
    assert said.startswith(f"unknown backbone '{typed}': ") and near in said
    assert "known are resnet50, vovnet19" in said


def test_a_name_without_neighbours_gets_no_guess():
    assert "did you mean" not in unknown("backbone", "zebra", ["resnet50"])


def test_long_lists_are_cut():
    assert "c29, ..." in unknown("class", "zebra", [f"c{i}" for i in range(80)])
    assert first_few(range(12)) == "0, 1, 2, 3, 4 and 7 more"
    assert first_few(["a", "b"]) == "a, b"


def test_done_is_0_and_says_nothing(capsys):
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, DetectError)]
)
def test_the_users_mistake_is_2_and_one_line(kind, capsys):
    assert exit_status(raises(kind("no such file: a.jpg"))) == 2
    assert capsys.readouterr() == ("", "error: no such file: a.jpg\n")


def test_a_stop_is_130(capsys):
    assert exit_status(raises(KeyboardInterrupt("stopped after 3 epochs"))) == 130
    assert exit_status(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "stopped after 3 epochs\nstopped\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", None)])
def test_a_stop_from_outside_closes_everything(number, capsys):
    closed = []

    def main() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            closed.append(True)

    before = signal.signal(number, signal.SIG_DFL)
    try:
        assert exit_status(main) == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL, "as before"
    finally:
        signal.signal(number, before)
    assert closed and capsys.readouterr().err == "stopped\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert exit_status(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_left_alone_outside_of_the_main_thread():
    got = []
    thread = threading.Thread(target=lambda: got.append(exit_status(lambda: None)))
    thread.start()
    thread.join()
    assert got == [0]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("count", [1, 100_000])
def test_a_reader_that_leaves_is_the_end(count, unbuffered):
    """``| head``: when a line is printed, or at the end when the last ones leave their buffer."""
    code = "import sys; from detect.errors import exit_status\n"
    code += f"sys.exit(exit_status(lambda: [print(i) for i in range({count})]))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_another_broken_pipe_is_our_bug():
    with pytest.raises(BrokenPipeError):
        exit_status(raises(BrokenPipeError()))


def test_our_bug_goes_on_its_way():
    with pytest.raises(ZeroDivisionError):
        exit_status(raises(ZeroDivisionError()))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_loader_process_reads_as_it_was_written(workers, capsys):
    assert exit_status(lambda: list(DataLoader(Broken(), batch_size=1, num_workers=workers))) == 2
    assert capsys.readouterr().err == "error: a.json: annotation 7 of image 0: its box has no area\n"


def test_a_message_of_several_lines_stays_whole(capsys):
    exit_status(raises(UsageError("2 of 3 images:\na.jpg\nb.jpg")))
    assert capsys.readouterr().err == "error: 2 of 3 images:\na.jpg\nb.jpg\n"


def test_a_warning_goes_to_stderr(capsys):
    warn("3 objects are left out")
    assert capsys.readouterr() == ("", "warning: 3 objects are left out\n")
