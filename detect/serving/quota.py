"""How much of something, such as memory, there is for all callers together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class FullError(Exception):
    """Others have taken too much of it for now."""


class TooMuchError(Exception):
    """One caller alone wants more than the ``most`` that there is."""

    def __init__(self, most: int) -> None:
        super().__init__(f"more than {most:,}")
        self.most = most


class Room:
    """``most`` of it, in whatever it is counted."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def shared(self) -> Iterator[Callable[[int], None]]:
        """A function that takes so much more of it, from any thread; all that it took is given back after the block.

        It raises TooMuchError or FullError, and then has taken nothing.
        """
        held = 0

        def take(count: int) -> None:
            nonlocal held
            with self._lock:
                if held + count > self.most:
                    raise TooMuchError(self.most)
                if self.taken + count > self.most:
                    raise FullError
                self.taken += count
                held += count

        try:
            yield take
        finally:
            with self._lock:
                self.taken -= held
