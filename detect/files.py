"""Folders and files of results: made before long work begins, and never left half written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detect.errors import UsageError


def make_folder(folder: Path) -> Path:
    """Make ``folder`` and prove, before any long work, that it can be written to; UsageError where not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to the folder {folder}: {error.strerror}") from None
    return folder


def new_folder(parent: Path, name: str) -> Path:
    """Make ``parent/name``, or ``name_2``, ``name_3``, ... when taken. UsageError where nothing can be written."""
    n = 1
    while True:
        folder = parent / (name if n == 1 else f"{name}_{n}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            n += 1
        except OSError as error:
            raise UsageError(f"cannot write to the folder {parent}: {error.strerror}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to, with its suffix. When the block ends well the file takes the place of
    ``path`` at once; when it does not, nothing is left of it and ``path`` is as before."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # some libraries make files that only their owner may read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
