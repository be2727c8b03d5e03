"""The errors that are a user's to mend, and the words that help to mend them.

    DetectError                 one clear line on stderr, exit status 2
    ├── UsageError              a flag, a name or a YAML key that does not exist or does not fit
    ├── MediaError              a picture or a video that cannot be read or written
    ├── DataError               a data set: annotations, images, splits
    ├── CheckpointError         a checkpoint that is not one, is too new, or does not fit
    ├── FetchError              something that had to be downloaded and could not be
    ├── DiskError               a file that cannot be written: a full or read-only disk
    └── TrainingError           training that cannot go on (a loss that is not finite)

Anything else that escapes a script is our bug and shows its traceback (exit status 1).
"""

from __future__ import annotations

import difflib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper


class DetectError(Exception):
    """Something the user can mend. The message says what, where, the value, and what would be right."""


class UsageError(DetectError):
    """A flag, a name or a YAML key that does not exist or does not fit."""


class MediaError(DetectError):
    """A picture or a video that cannot be read or written."""


class DataError(DetectError):
    """Annotations, images or splits of a data set that do not hold together."""


class CheckpointError(DetectError):
    """A file that is not a checkpoint, is newer than this program, or does not fit the task."""


class FetchError(DetectError):
    """Something that had to be downloaded and could not be."""


class DiskError(DetectError):
    """A file that cannot be written: a full or read-only disk, or a folder that is another's."""


class TrainingError(DetectError):
    """Training that cannot go on."""


# The errno of a disk that is full or takes nothing. EDQUOT, a user's share of it being full, is unknown to Windows.
NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Words for an unknown name, near names first: ``unknown backbone 'resnet5': did you mean ...``."""
    known = [str(k) for k in known]
    by_lower = {k.lower(): k for k in known}
    near = [by_lower[k] for k in difflib.get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.6)]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    shown = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return f"unknown {what} '{name}': {hint}known are {shown}"


def first_few(items: Iterable[object], n: int = 5) -> str:
    """The first ``n`` of ``items`` for a message: ``a, b, c, d, e and 7 more``."""
    shown = [str(i) for i in items]
    more = f" and {len(shown) - n} more" if len(shown) > n else ""
    return ", ".join(shown[:n]) + more


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
        if error.errno not in NO_ROOM:
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


def counted(number: int, one: str, many: str = "") -> str:
    """Such as ``1 epoch`` or ``2 epochs``."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def warn(text: str) -> None:
    """One line on stderr for what the user should see although the work goes on."""
    print(f"warning: {text}", file=sys.stderr)
