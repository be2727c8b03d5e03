"""Signals that stop training (Ctrl-C, SIGTERM, SIGHUP), deferred until the current step is finished."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from detect.distributed import world
from detect.runtime import STOP_SIGNALS

_REPEAT_SECONDS = 1.0  # a terminal and torchrun may both deliver the same Ctrl-C within this time


class DeferredInterrupt:
    """Context manager that records the first signal instead of raising KeyboardInterrupt.

    A second signal more than a second later interrupts immediately. A signal that is still pending at the end of the
    block is raised there.

    requested: number of the pending signal; 0 for none.

        with DeferredInterrupt() as interrupt:
            for step in steps:
                ...
                if interrupt.requested:
                    save()
                    interrupt.raise_now(interrupt.requested)
    """

    def __init__(self) -> None:
        self.requested = 0
        self._requested_at = 0.0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():  # Python allows signal handlers there only
            for number in STOP_SIGNALS:
                if callable(former := signal.getsignal(number)):  # ignored signals, as under nohup, stay ignored
                    self._former.setdefault(number, former)
                    signal.signal(number, self._handle)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        if self.requested and error is None:
            self.raise_now(self.requested)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and time.monotonic() - self._requested_at > _REPEAT_SECONDS:
            self._former[number](number, frame)
        elif not self.requested:
            self.requested, self._requested_at = number, time.monotonic()
            here = world()
            if not here.is_first or (here.size > 1 and number != signal.SIGINT):  # torchrun ends processes by SIGTERM
                return
            with suppress(OSError):  # print is not safe in a signal handler: its buffer may be in use
                os.write(2, b"\nstopping after this step; interrupt again to stop immediately\n")

    def raise_now(self, number: int) -> None:
        """Call the handler that was installed before for this signal, or raise KeyboardInterrupt."""
        self.requested = 0
        if number in self._former:
            self._former[number](number, None)
        raise KeyboardInterrupt
