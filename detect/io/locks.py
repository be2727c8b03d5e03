"""Locks that keep a second process out of a folder while the first one works in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from detect.errors import UsageError


@contextmanager
def lock_file(path: Path, message: str) -> Iterator[None]:
    """Hold the lock ``path``, a file that is deleted afterwards, during the block.

    Raises UsageError with ``message`` if another process holds it. Without effect on file systems without locks.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(message) from None
    except NotImplementedError:  # the file system does not support locks
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not delete open files
            path.unlink()
        lock.release()
