"""Folders and files of results: made before long work begins, and never left half written."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from detect.errors import DiskError, UsageError

# errno values of a disk that is full, over quota or read-only. Windows has no EDQUOT.
DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
_LONGEST_NAME = 255  # bytes
_LONGEST_STEM = 60  # of a temporary name; a name may have 255 bytes, and a character up to 4
_UMASK = os.umask(0o077)  # it can only be read by setting it, for all threads, so once and at once
os.umask(_UMASK)
_MODE = 0o666 & ~_UMASK  # of a new file


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
def folder_of_run(parent: Path, name: str) -> Iterator[Path]:
    """A ``new_folder`` that goes again where nothing was written to it."""
    folder = new_folder(parent, name)
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something
            folder.rmdir()


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new folder for temporary things, deleted when the block ends; DiskError where it cannot be made."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise DiskError(f"cannot make a temporary folder: {error.strerror}") from None
    with folder as path:
        yield Path(path)


def shortened(stem: str, ending: str) -> str:
    """``stem + ending``, without the last characters of ``stem`` where a file's name could not be that long."""
    while stem and len(os.fsencode(stem + ending)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + ending


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to, with its suffix. When the block ends well the file takes the place of
    ``path`` at once; when it does not, nothing is left of it and ``path`` is as before. Raises OSError.

    A process killed in the block leaves the temporary file (see ``remove_leftovers``). A power cut leaves the old
    file or the new one, since the bytes are on the disk before the name is: on a server's disk that takes some 10 ms
    for an image, half a second for 150 MB.
    """
    temporary = path.with_name(f".{path.stem[:_LONGEST_STEM]}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with suppress(OSError):  # some disks on the network know no modes
            temporary.chmod(_MODE)  # some libraries make files that only their owner may read
        put_in_place(temporary, path)
    finally:
        with suppress(OSError):  # a disk that has become read-only keeps it
            temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file over ``path``, in the same folder, so that a power cut leaves one of the two whole."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())  # a disk on the network may tell only now that it is full
    temporary.replace(path)
    _sync_folder(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DiskError that names ``path`` and the reason."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content``, all of it or nothing; DiskError where that fails."""
    with writing(path), replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing; DiskError where that fails."""
    write_bytes(path, text.encode())


def append_line(path: Path, line: str) -> None:
    """Add ``line`` and a line break to a UTF-8 file, all of it or nothing; DiskError where that fails."""
    with writing(path), path.open("ab", buffering=0) as file:
        write_whole(file, f"{line}\n".encode())
        os.fsync(file.fileno())


def write_whole(file: FileIO, content: bytes) -> None:
    """Add ``content`` at the end of an unbuffered file, all of it or nothing. Raises OSError."""
    end = file.tell()
    try:
        while content:  # the last block of a disk takes what it can
            content = content[file.write(content) :]
    except OSError:
        with suppress(OSError):
            file.seek(end)
            file.truncate()
        raise


def remove_leftovers(path: Path) -> None:
    """Delete what processes that were killed while they wrote ``path`` have left beside it.

    What belongs to a process that runs stays, unless it is this one, which must not be writing ``path`` now.
    """
    name = re.compile(rf"\.{re.escape(path.stem[:_LONGEST_STEM])}\.(\d{{1,9}}){re.escape(path.suffix)}")
    for leftover in path.parent.glob(".*"):
        if (found := name.fullmatch(leftover.name)) and not _is_another_running(int(found[1])):
            with suppress(OSError):
                leftover.unlink()


def _is_another_running(process: int) -> bool:
    if os.name == "nt" or process == os.getpid():  # Windows itself refuses to delete a file in use
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user's
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the names in ``folder`` to the disk, where the system can: Windows and some network disks cannot."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
