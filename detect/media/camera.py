"""Sources that do not wait, and that may keep one waiting: cameras and streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import cv2

from detect.errors import MediaError
from detect.media.video_decoder import Frame


class Camera:
    """A camera on this machine: a number as OpenCV counts them, or a device such as /dev/video0.

    shown: its name in messages.

    Opened at once, since macOS asks the user for leave, and only on the main thread. MediaError where there is no such
    camera.
    """

    def __init__(self, address: str, shown: str) -> None:
        self._closed = False
        self._camera = cv2.VideoCapture(int(address) if address.isdigit() else address)
        if not self._camera.isOpened():
            self._camera.release()
            raise MediaError(
                f"{shown} cannot be opened: see that it is plugged in, that no other program uses it and"
                " that you may read it"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Frames as they come, without their times."""
        try:
            while not self._closed:
                more, bgr = self._camera.read()
                if not more:
                    return
                yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), Fraction(0))
        finally:
            self._camera.release()

    def close(self) -> None:
        """Let go of the camera once the frame that is awaited has come."""
        self._closed = True


class Feed:
    """The frames of ``source`` taken by a thread of its own, so that waiting for one can be given up.

    waits: asked once, when the first frame has come: true lets ``source`` wait until each frame is taken; otherwise
    one that was not taken gives way to the next, so that ``take`` gives what is to be seen now, and a frame's time is
    that of its arrival, by the machine's own clock.
    """

    def __init__(self, source: Iterable[Frame], waits: Callable[[], bool] = lambda: False) -> None:
        self._source = source
        self._waits = waits
        self._frame: Frame | None = None
        self._error: Exception | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, seconds: float) -> Frame | None:
        """The next frame, or None at the end; TimeoutError where none comes within ``seconds``."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame or self._ended, seconds):
                raise TimeoutError
            if self._error is not None:
                raise self._error
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def close(self, seconds: float = 5) -> None:
        """End the thread, when the source is closed; one that hangs in a driver is left to the process's end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            waits = None
            for frame in self._source:
                waits = self._waits() if waits is None else waits
                with self._changed:
                    if waits:
                        self._changed.wait_for(lambda: self._frame is None or self._closed)
                    if self._closed:
                        return
                    self._frame = frame if waits else Frame(frame.image, Fraction(time.monotonic()))
                    self._changed.notify_all()
        except Exception as error:
            self._error = error  # raised where the frame is asked for
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
