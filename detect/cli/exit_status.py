"""Exit status of the scripts, and what signals and user errors print."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper

from detect.errors import DetectError
from detect.io.files import DISK_FULL


def exit_status(main: Callable[[], int | None]) -> int:
    """Run a script's ``main`` and turn what the user can mend into one line and a status.

    Returns what main returns, 0 where that is nothing; 2 for a DetectError or a full disk, 130 for Ctrl-C; 128 and the
    signal's number where another one stopped it, 141 where nobody reads stdout any more (``| head``). Any other
    exception goes on its way.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # a file's name may have letters that the terminal's encoding has not
        sys.stdout.reconfigure(errors="backslashreplace")
    stopped_by = signal.SIGINT

    def interrupt(number: int, _: object) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    try:
        with _on_other_stops(interrupt):
            status = main() or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 141
    except DetectError as error:
        print(f"error: {_own_words(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # of a write that is no result's, such as a library's own temporary file
        if error.errno not in DISK_FULL:
            raise
        where = f" {error.filename}" if error.filename else ""
        print(f"error: cannot write{where}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(str(stop) or "stopped", file=sys.stderr)
        return 128 + stopped_by
    return status


@contextmanager
def _on_other_stops(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Let ``handler`` hear of the stops that are no Ctrl-C, which would end Python without closing anything."""
    former = {}
    if threading.current_thread() is threading.main_thread():  # Python allows it there alone
        for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            if signal.getsignal(number) is signal.SIG_DFL:  # not below nohup, or where another takes care of it
                former[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _nobody_reads() -> bool:
    """Whether it is stdout that is a broken pipe; then what is left for it goes to nowhere."""
    try:
        print(flush=True)  # something must be written for it to show
        return False
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else Python complains when it flushes at the end
        os.close(nowhere)
        return True


def _own_words(error: DetectError) -> str:
    """The message as it was written: torch hands an error of a loader process on inside the text of its traceback."""
    if not str(error).startswith("Caught "):
        return str(error)
    return str(error).rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()
