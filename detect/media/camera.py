"""Cameras, and a thread that reads a live source so that waiting for a frame can time out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import cv2

from detect.errors import MediaError
from detect.media.video_decoder import Frame


class Camera:
    """A camera of this machine.

    address: number of the camera in OpenCV's order, or a device such as /dev/video0.
    shown: name in messages.

    The camera is opened by the constructor: macOS asks the user for permission, and only on the main thread.
    Raises MediaError when there is no such camera.
    """

    def __init__(self, address: str, shown: str) -> None:
        self._closed = False
        self._camera = cv2.VideoCapture(int(address) if address.isdigit() else address)
        if not self._camera.isOpened():
            self._camera.release()
            raise MediaError(
                f"{shown} cannot be opened: check that it is connected, that no other program uses it, and"
                " that you have permission to read it"
            )

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames as they arrive, all with the time 0."""
        try:
            while not self._closed:
                more, bgr = self._camera.read()
                if not more:
                    return
                yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), Fraction(0))
        finally:
            self._camera.release()

    def close(self) -> None:
        """Release the camera after the next frame."""
        self._closed = True


class LiveFrameReader:
    """Reads the frames of ``source`` in a thread, so that waiting for a frame can time out.

    waits: called once, after the first frame has arrived. If it returns true, ``source`` waits until each frame is
        taken. Otherwise a newer frame replaces one that was not taken, so that ``take`` returns the current frame,
        and the time of a frame is its arrival by the machine's monotonic clock.
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
        """Return the next frame, or None at the end. Raises TimeoutError when none arrives within ``seconds``."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame or self._ended, seconds):
                raise TimeoutError
            if self._error is not None:
                raise self._error
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def close(self, seconds: float = 5) -> None:
        """End the thread after the source is closed; a thread that hangs in a driver ends with the process."""
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
            self._error = error  # raised by take
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
