"""What the user sees while work goes on: progress bars, lines of output and warnings.

Messages of the package name a setting in backticks, as Python spells it: `imgsz` or `head='fasterrcnn'`. The command
line replaces that spelling by its flags (``spell_settings_with``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sized
from typing import Any

from tqdm import tqdm

# Bar format of training: losses and remaining time stand behind the bar in place of tqdm's own estimate for the epoch.
TRAINING = "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}"

_hidden = False
_spell: Callable[[str], str] = str


def hide_bars(hidden: bool) -> None:
    """Hide (or show) all progress bars of this process from now on."""
    global _hidden  # noqa: PLW0603 - a process has one stderr
    _hidden = hidden


def bar(items: Iterable[Any] | None = None, *, min_items: int = 0, **arguments: Any) -> tqdm:
    """Return a tqdm progress bar on stderr, over ``items`` or updated by the caller; ``arguments`` go to tqdm.

    On a terminal the bar is updated five times per second and fits the width; a log file gets a line every 10 s.

    min_items: with fewer items no bar is shown. With an unknown number of items it is shown.
    """
    count = arguments.get("total", len(items) if isinstance(items, Sized) else None)
    nowhere = sys.stderr is None or sys.stderr.closed
    interval = 0.2 if not nowhere and sys.stderr.isatty() else 10.0
    usual = {"dynamic_ncols": True, "leave": False, "mininterval": interval}
    too_few = count is not None and count < min_items
    hidden = arguments.pop("disable", False) or too_few or _hidden or nowhere
    return tqdm(items, disable=hidden, **usual | arguments)


def spell_settings_with(spell: Callable[[str], str]) -> None:
    """Pass every message through ``spell`` before it is printed; the command line turns settings into flags."""
    global _spell  # noqa: PLW0603 - a process has one stderr
    _spell = spell


def spelled(text: str) -> str:
    """Return a message as the user of this process spells settings."""
    return _spell(text)


def report(text: str) -> None:
    """Print one line of normal output to stdout."""
    print(spelled(text), flush=True)


def warn(text: str) -> None:
    """Print one warning line to stderr; the work continues."""
    print(f"warning: {spelled(text)}", file=sys.stderr)
