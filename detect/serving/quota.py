"""A quota of a resource, such as memory, that all requests share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class QuotaBusyError(Exception):
    """Raised when other requests currently hold too much of the quota. A later attempt can succeed."""


class QuotaExceededError(Exception):
    """Raised when one request needs more than the whole quota.

    limit: size of the quota.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit:,}")
        self.limit = limit


class Quota:
    """A fixed amount of a resource. Thread-safe.

    limit: total amount, in any unit.
    used: amount that is reserved now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._lock = threading.Lock()

    @contextmanager
    def reservation(self) -> Iterator[Callable[[int], None]]:
        """Yield a function ``take(amount)`` that reserves more of the quota; the block's end releases all of it.

        ``take`` may be called from any thread. It raises QuotaExceededError or QuotaBusyError, and then reserves
        nothing.
        """
        held = 0

        def take(amount: int) -> None:
            nonlocal held
            with self._lock:
                if held + amount > self.limit:
                    raise QuotaExceededError(self.limit)
                if self.used + amount > self.limit:
                    raise QuotaBusyError
                self.used += amount
                held += amount

        try:
            yield take
        finally:
            with self._lock:
                self.used -= held
