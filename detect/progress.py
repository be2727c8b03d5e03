"""Progress bars: on stderr, and none of any kind below ``--quiet``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

# For training, where the time that tqdm gives an epoch matters less than what is said behind it.
TRAINING = "{desc} {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}"

_hidden = False


def hide_bars(hidden: bool) -> None:
    """Show bars or none from now on, in all of the process."""
    global _hidden  # noqa: PLW0603 - a process has one stderr
    _hidden = hidden


def bar(items: Iterable[Any] | None = None, **arguments: Any) -> tqdm:
    """A tqdm bar over ``items``, or to be updated by hand; for ``arguments`` see tqdm.

    On a terminal it moves and fits its width; a log file gets a line now and then.
    """
    nowhere = sys.stderr is None or sys.stderr.closed
    interval = 0.2 if not nowhere and sys.stderr.isatty() else 10.0
    usual = {"dynamic_ncols": True, "leave": False, "mininterval": interval}
    hidden = arguments.pop("disable", False) or _hidden or nowhere
    return tqdm(items, disable=hidden, **usual | arguments)


def warn(text: str) -> None:
    """One line on stderr for what the user should see although the work goes on."""
    print(f"warning: {text}", file=sys.stderr)
