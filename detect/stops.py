"""Ctrl-C and its like, held back until a good moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Stops:
    """While it is open, a first signal to stop is only noted; a second one stops at once.

    with Stops() as stops:
        for step in steps:
            ...
            if stops.asked:
                save()
                stops.now()
    """

    def __init__(self) -> None:
        self.asked: int | None = None  # the signal's number
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Stops:
        if threading.current_thread() is threading.main_thread():  # Python allows it there alone
            for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
                if callable(former := signal.getsignal(number)):  # not where it is ignored, as below nohup
                    self._former.setdefault(number, former)
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            self._former[number](number, frame)
        self.asked = number

    def now(self) -> None:
        """Do what the signal would have done, which raises KeyboardInterrupt in the project's scripts."""
        assert self.asked is not None
        self._former[self.asked](self.asked, None)
