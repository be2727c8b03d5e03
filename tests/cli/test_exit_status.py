"""Exit status: a user error is one line and status 2, a bug of ours shows its traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.folders import ROOT

from detect import errors
from detect.cli.exit_status import exit_status
from detect.errors import DetectError, ExportLossError, UsageError
from detect.progress import warn


def raises(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_success_is_0_and_prints_nothing(capsys):
    assert exit_status(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, DetectError)]
)
def test_user_error_is_2_or_of_an_export_that_lost_too_much_4_and_one_line(kind, capsys):
    status = 4 if kind is ExportLossError else 2
    assert exit_status(raises(kind("no such file: a.jpg"))) == status
    assert capsys.readouterr() == ("", "error: no such file: a.jpg\n")


def test_ctrl_c_is_130(capsys):
    assert exit_status(raises(KeyboardInterrupt("stopped after 3 epochs"))) == 130
    assert exit_status(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "stopped after 3 epochs\nstopped\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", None)])
def test_termination_signal_runs_cleanup_and_gives_128_plus_its_number(number, capsys):
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
        assert signal.getsignal(number) is signal.SIG_DFL, "the former handler is restored"
    finally:
        signal.signal(number, before)
    assert closed and capsys.readouterr().err == "stopped\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_end_of_another_process_of_torchrun_is_named(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert exit_status(lambda: signal.raise_signal(signal.SIGTERM)) == 128 + signal.SIGTERM
    assert exit_status(raises(KeyboardInterrupt())) == 130
    by_torchrun, by_user = capsys.readouterr().err.splitlines()
    assert "another process of this program has ended" in by_torchrun and by_user == "stopped"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX")
def test_ignored_sighup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert exit_status(lambda: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_handlers_are_not_set_outside_of_the_main_thread():
    got = []
    thread = threading.Thread(target=lambda: got.append(exit_status(lambda: None)))
    thread.start()
    thread.join()
    assert got == [0]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("count", [1, 100_000])
def test_closed_stdout_is_141_without_a_traceback(count, unbuffered):
    """As in ``| head``: the write fails when a line is printed, or at exit when the buffer is flushed."""
    code = "import sys; from detect.cli.exit_status import exit_status\n"
    code += f"sys.exit(exit_status(lambda: [print(i) for i in range({count})]))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_other_broken_pipe_is_a_bug():
    with pytest.raises(BrokenPipeError):
        exit_status(raises(BrokenPipeError()))


def test_other_exceptions_pass_through():
    with pytest.raises(ZeroDivisionError):
        exit_status(raises(ZeroDivisionError()))


def test_message_of_several_lines_is_printed_completely(capsys):
    exit_status(raises(UsageError("2 of 3 images:\na.jpg\nb.jpg")))
    assert capsys.readouterr().err == "error: 2 of 3 images:\na.jpg\nb.jpg\n"


def test_warning_is_printed_to_stderr(capsys):
    warn("3 objects are skipped")
    assert capsys.readouterr() == ("", "warning: 3 objects are skipped\n")
