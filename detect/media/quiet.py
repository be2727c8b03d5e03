"""Silence of the libraries that print to stderr by themselves: Pillow, libtiff and OpenCV.

Only programs call ``silence_codecs``, since it changes state of the whole process. What goes wrong is reported by a
MediaError in any case.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detect.progress import STDERR_LOCK

_silent = False


def silence_codecs() -> None:
    """Suppress, for the rest of the process, what codecs print to stderr about odd or damaged files."""
    global _silent  # noqa: PLW0603 - a process has one stderr
    _silent = True
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # Pillow logs some errors that it raises too
    # One filter for the process: catch_warnings around each call is not safe with several threads.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def libtiff_silenced() -> Iterator[None]:
    """Redirect the process's stderr during the block, if codecs are silenced: libtiff writes to it directly."""
    # Without stderr there is nothing to hear, and descriptor 2 may belong to another file: the image.
    if not _silent or sys.__stderr__ is None or sys.__stderr__.closed:
        yield
        return
    with STDERR_LOCK, Path(os.devnull).open("wb") as nothing:
        kept = os.dup(2)
        try:
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
