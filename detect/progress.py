"""What the user sees while work goes on: progress bars, lines of output and warnings.

Messages of the package name a setting in backticks, as Python spells it: `imgsz` or `head='fasterrcnn'`. The command
line replaces that spelling by its flags (``spell_settings_with``).
"""

from __future__ import annotations

import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sized
from typing import Any, TextIO

from tqdm import tqdm

# Bar format of training: losses and remaining time stand behind the bar in place of tqdm's own estimate for the epoch.
TRAINING = "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}"
# Bar format of many images or frames: their number per second and the remaining time. ``unit`` is " images".
RATE = "{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}, {rate_noinv_fmt}, {remaining} left{postfix}"
_LOG = "{percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
_BAR = re.compile(r"\|\{bar(:\d+)?\}\|")
_LOG_SECONDS = 30.0

STDERR_LOCK = threading.RLock()
"""Held while a warning is printed, and while stderr is redirected because a library of C would write to it."""

_hidden = False
_spell: Callable[[str], str] = str


def hide_bars(hidden: bool) -> None:
    """Hide (or show) all progress bars of this process from now on."""
    global _hidden  # noqa: PLW0603 - a process has one stderr
    _hidden = hidden


def bar(items: Iterable[Any] | None = None, *, min_items: int = 0, **arguments: Any) -> tqdm:
    """Return a tqdm progress bar on stderr, over ``items`` or updated by the caller; ``arguments`` go to tqdm.

    On a terminal the bar is updated five times per second and fits the width. Where stderr or stdout is a pipe, and
    where stderr is a file, the bar is a whole line of text every 30 s, so that logs and ``| less`` stay readable.

    min_items: with fewer items no bar is shown. With an unknown number of items it is shown.
    """
    count = arguments.get("total", len(items) if isinstance(items, Sized) else None)
    nowhere = sys.stderr is None or sys.stderr.closed
    too_few = count is not None and count < min_items
    hidden = arguments.pop("disable", False) or too_few or _hidden or nowhere
    if hidden or _bars_can_move():
        usual = {"dynamic_ncols": True, "leave": False, "mininterval": 0.2}
        return tqdm(items, disable=hidden, **usual | arguments)
    own_format = arguments.get("bar_format") or ("{desc}: " if arguments.get("desc") else "") + _LOG
    in_log = {
        "bar_format": _BAR.sub("", own_format),
        "leave": False,
        "mininterval": _LOG_SECONDS,
        "delay": _LOG_SECONDS,  # no line for what takes less
        "miniters": 1,  # with more, a thread of tqdm prints lines between these, with the count of the line before
        "dynamic_ncols": False,
    }
    return tqdm(items, file=_WholeLines(sys.stderr), **arguments | in_log)


def close_bars() -> None:
    """Remove all progress bars, before an error ends the work that they show."""
    for one in sorted(getattr(tqdm, "_instances", ()), key=lambda one: one.pos):  # the lowest line first
        one.leave = False
        one.close()


def _bars_can_move() -> bool:
    """Return whether stderr is a terminal on which nothing else is printed by another program, as after ``| less``."""
    return sys.stderr.isatty() and not _is_pipe(sys.stdout)


def _is_pipe(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # closed, or not a file of the system
        return False


class _WholeLines:
    """Text file for tqdm in which each state of a bar is a line, instead of replacing the one before it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None)  # by which tqdm decides which characters it may use

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


def spell_settings_with(spell: Callable[[str], str]) -> None:
    """Pass every message through ``spell`` before it is printed; the command line turns settings into flags."""
    global _spell  # noqa: PLW0603 - a process has one stderr
    _spell = spell


def spelled(text: str) -> str:
    """Return a message as the user of this process spells settings."""
    return _spell(text)


def report(text: str) -> None:
    """Print one line of normal output to stdout; bars on the same terminal move below it."""
    with tqdm.external_write_mode(file=sys.stdout):
        print(spelled(text), flush=True)


def warn(text: str) -> None:
    """Print one warning line to stderr; the work continues. Bars on the same terminal move below it."""
    with STDERR_LOCK, tqdm.external_write_mode(file=sys.stderr):
        print(f"warning: {spelled(text)}", file=sys.stderr)
