"""A window of the desktop that shows the frames of a video while they are processed."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from detect.errors import UsageError
from detect.media.ffmpeg import separate_process_group

_PROGRAM = Path(__file__).with_name("window_process.py")
_SCREEN_FRACTION = 0.9


class Window:
    """A window that shows the newest frame, until its user closes it or presses q or Escape.

    OpenCV's headless package has no windows, so this one is made with tkinter. It is a process of its own, since
    tkinter must run in the main thread of a process on some systems.

    Raises UsageError where there is no display or no tkinter.
    """

    def __init__(self, title: str) -> None:
        # -I: no module beside the program can hide one of Python's own.
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_PROGRAM), title],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **separate_process_group(),
        )
        assert self._process.stdout is not None
        state, _, rest = self._process.stdout.readline().decode(errors="replace").strip().partition(" ")
        if state != "ready":
            self.close()
            raise UsageError(f"`show` needs a display: {rest or 'the window cannot be opened'}")
        width, height = map(int, rest.split())
        self._max_hw = height * _SCREEN_FRACTION, width * _SCREEN_FRACTION

    @property
    def is_open(self) -> bool:
        """Whether the user has not closed the window."""
        return self._process.poll() is None

    def show(self, image: np.ndarray) -> None:
        """Show a frame, uint8 RGB [H, W, 3], shrunk if it is larger than the screen; no effect after ``close``."""
        height, width = image.shape[:2]
        scale = min(1.0, self._max_hw[0] / height, self._max_hw[1] / width)
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            height, width = image.shape[:2]
        ppm = b"P6 %d %d 255\n" % (width, height) + image.tobytes()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(struct.pack("<Q", len(ppm)) + ppm)
            self._process.stdin.flush()
        except OSError:  # the user has closed the window
            pass

    def close(self) -> None:
        """Close the window."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
