"""Progress bars: on stderr, and none of any kind below ``--quiet``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_hidden = False


def hide_bars(hidden: bool = True) -> None:
    """Show no bar from now on, in all of the process; ``False`` shows them again."""
    global _hidden  # noqa: PLW0603 - a process has one stderr
    _hidden = hidden


def bar(items: Iterable[Any] | None = None, **arguments: Any) -> tqdm:
    """A tqdm bar over ``items``, or to be updated by hand; for ``arguments`` see tqdm.

    On a terminal it moves and fits its width; a log file gets a line now and then.
    """
    terminal = sys.stderr is not None and sys.stderr.isatty()
    usual = {"disable": _hidden, "dynamic_ncols": True, "leave": False, "mininterval": 0.2 if terminal else 10.0}
    return tqdm(items, **usual | arguments)
