"""Ctrl-C and its like, held back until a good moment."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

from detect.distributed import world

_AT_ONCE = 1.0  # seconds within which a repeated signal is the same one


class Stops:
    """While it is open, a first signal to stop is only noted; a second one stops at once, unless it comes within a
    second, as a terminal and torchrun may both send the same.

    with Stops() as stops:
        for step in steps:
            ...
            if stops.asked:
                save()
                stops.now()
    """

    def __init__(self) -> None:
        self.asked = 0  # the signal's number, 0 for none
        self._at = 0.0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():  # Python allows it there alone
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
                if callable(former := signal.getsignal(number)):  # not where it is ignored, as below nohup
                    self._former.setdefault(number, former)
                    signal.signal(number, self._note)
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        if self.asked and error is None:
            self.now(self.asked)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked and time.monotonic() - self._at > _AT_ONCE:
            self._former[number](number, frame)
        elif not self.asked:
            self.asked, self._at = number, time.monotonic()
            if not world().is_first:
                return
            with suppress(OSError):  # not print, whose buffer may be in use just now
                os.write(2, b"\nstopping after this step; once more stops at once\n")

    def now(self, number: int) -> None:
        """Do what the signal would have done, which raises KeyboardInterrupt in the project's scripts."""
        self.asked = 0
        if number in self._former:
            self._former[number](number, None)
        raise KeyboardInterrupt
