"""A quota of a resource, such as memory, that all requests share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from detect.serving.errors import ProblemError, ServerBusyError


class Quota:
    """A fixed amount of a resource. Thread-safe.

    limit: total amount.
    unit: plural noun for what is limited, such as ``pixels``.
    used: amount that is reserved now.
    """

    def __init__(self, limit: int, unit: str) -> None:
        self.limit = limit
        self.unit = unit
        self.used = 0
        self._lock = threading.Lock()

    @contextmanager
    def reservation(self) -> Iterator[Callable[[int], None]]:
        """Yield a function ``take(amount)`` that reserves more of the quota; the block's end releases all of it.

        ``take`` may be called from any thread. It raises ProblemError 413 when one request needs more than the whole
        quota, and 503 when other requests hold too much of it; it then reserves nothing.
        """
        held = 0

        def take(amount: int) -> None:
            nonlocal held
            with self._lock:
                if held + amount > self.limit:
                    detail = f"all images of a request together may have at most {self.limit:,} {self.unit}"
                    raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
                if self.used + amount > self.limit:
                    raise ServerBusyError(1, "other requests are using all the memory of the server")
                self.used += amount
                held += amount

        try:
            yield take
        finally:
            with self._lock:
                self.used -= held
