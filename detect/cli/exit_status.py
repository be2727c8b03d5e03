"""Exit status of the programs, and what an error or a signal prints.

0 success, 1 a bug of ours (with its traceback), 2 a mistake of the user's (one line on stderr), 4 an export that lost
more accuracy than allowed, 128 + N stopped by
signal N (130 for Ctrl-C), 141 nobody reads stdout any more (``| head``). Programs may return further values.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from detect.errors import DetectError, ExportLossError
from detect.io.files import DISK_FULL
from detect.progress import close_bars, spelled


def exit_status(main: Callable[[], int | None]) -> int:
    """Run the ``main`` function of a program and return its exit status.

    A DetectError and a full disk become one line on stderr and status 2. Any other exception passes through.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # a file name may hold characters that the terminal cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    stopped_by = signal.SIGINT

    def interrupt(number: int, _: object) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    try:
        with _termination_signals_call(interrupt):
            status = _closing_bars(main) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return 141
    except DetectError as error:
        if not error.is_explained:
            print(f"error: {spelled(str(error))}", file=sys.stderr)
        return 4 if isinstance(error, ExportLossError) else 2
    except OSError as error:  # from a library's own temporary file; our files raise DiskError
        if error.errno not in DISK_FULL:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(f"error: cannot write{where}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(spelled(str(stop)) or _reason(stopped_by), file=sys.stderr)
        return 128 + stopped_by
    return status


def _reason(number: signal.Signals) -> str:
    """Return why the program stopped. torchrun ends all processes by SIGTERM when one of them has ended."""
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and number == signal.SIGTERM
    return "stopped by torchrun, as when another process of this program has ended" if by_torchrun else "stopped"


def _closing_bars(main: Callable[[], int | None]) -> int | None:
    """Run ``main``, and remove its progress bars before an error is printed."""
    try:
        return main()
    except BaseException:
        close_bars()
        raise


@contextmanager
def _termination_signals_call(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call ``handler`` on SIGTERM and SIGHUP, which by default end Python without closing files and processes."""
    former = {}
    if threading.current_thread() is threading.main_thread():  # Python allows signal handlers there only
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup and other programs set their own handling
                former[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _stdout_is_closed() -> bool:
    """Return whether stdout is a broken pipe; if so, redirect what is left to the null device."""
    try:
        print(flush=True)  # only a write shows a broken pipe
        return False
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # otherwise Python complains when it flushes at exit
        os.close(nowhere)
        return True
