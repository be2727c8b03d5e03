"""Output folders, and files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from detect.errors import DiskError, UsageError

# errno values of a disk that is full, over quota or read-only. Windows has no EDQUOT.
DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
_MAX_NAME_BYTES = 255
_MAX_STEM = 60  # characters of a temporary name; a character takes up to 4 bytes


def make_folder(folder: Path) -> Path:
    """Create ``folder`` and check that it is writable, so that long work does not fail at its end.

    Raises UsageError when it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise UsageError(f"cannot write to the folder {folder}: it is a file, not a folder") from None
    except OSError as error:
        raise UsageError(f"cannot write to the folder {folder}: {error.strerror}") from None
    return folder


def new_folder(parent: Path, name: str) -> Path:
    """Create ``parent/name``, or ``name_2``, ``name_3``, ... when that exists. Raises UsageError when it fails."""
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
def new_run_folder(parent: Path, name: str) -> Iterator[Path]:
    """Create a ``new_folder`` for the block, and delete it afterwards when it is still empty."""
    folder = new_folder(parent, name)
    try:
        yield folder
    finally:
        with suppress(OSError):  # the folder is not empty
            folder.rmdir()


@contextmanager
def new_temporary_folder(prefix: str) -> Iterator[Path]:
    """Create a temporary folder that is deleted when the block ends. Raises DiskError when it cannot be created."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise DiskError(f"cannot make a temporary folder: {error.strerror}") from None
    with folder as path:
        yield Path(path)


@contextmanager
def filled_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; when the block succeeds, its content is moved to ``folder``, which is new or empty.

    When the block fails, the temporary folder is deleted and ``folder`` is unchanged. Raises OSError.
    """
    exists = folder.is_dir()
    # An existing folder may be a mounted disk, so the temporary folder goes inside.
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder if exists else folder.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp makes it accessible only to its owner
        yield temporary
        if exists:
            for entry in list(temporary.iterdir()):
                entry.rename(folder / entry.name)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fit_file_name(stem: str, ending: str) -> str:
    """Return ``stem + ending``, with ``stem`` cut so that the name has at most 255 bytes."""
    while stem and len(os.fsencode(stem + ending)) > _MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


@contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, with its suffix, to write to.

    When the block succeeds, the temporary file replaces ``path`` in one step. When it fails, the temporary file is
    deleted and ``path`` is unchanged. Raises OSError.

    A process killed inside the block leaves the temporary file behind (see ``remove_temporary_files``). After a power
    cut either the old or the new file exists, since the data are flushed to the disk before the file is renamed. The
    flush takes about 10 ms for an image and half a second for 150 MB on a server's disk.
    """
    temporary = path.with_name(f".{path.stem[:_MAX_STEM]}.{os.getpid()}{path.suffix}")
    try:
        temporary.touch(mode=0o666)  # the system applies the user's umask
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        with suppress(OSError):  # some network disks have no file modes
            temporary.chmod(mode)  # some libraries create files that only their owner may read
        replace_file(temporary, path)
    finally:
        with suppress(OSError):  # the disk may have become read-only
            temporary.unlink(missing_ok=True)


def replace_file(temporary: Path, path: Path) -> None:
    """Flush ``temporary`` to the disk and rename it to ``path`` in the same folder. Raises OSError."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())  # a network disk may report only now that it is full
    temporary.replace(path)
    _sync_folder(path.parent)


@contextmanager
def disk_errors_naming(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DiskError that names ``path`` and the reason."""
    try:
        yield
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` completely or not at all. Raises DiskError."""
    with disk_errors_naming(path), atomic_replacement(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, completely or not at all. Raises DiskError."""
    write_bytes(path, text.encode())


def append_line(path: Path, line: str) -> None:
    """Append ``line`` and a line break to a UTF-8 file, completely or not at all. Raises DiskError."""
    with disk_errors_naming(path), path.open("ab", buffering=0) as file:
        append_all_or_nothing(file, f"{line}\n".encode())
        os.fsync(file.fileno())


def append_all_or_nothing(file: FileIO, content: bytes) -> None:
    """Append ``content`` to an unbuffered file; after an error the file has its former length. Raises OSError."""
    end = file.tell()
    try:
        while content:  # a nearly full disk accepts only a part of the content
            content = content[file.write(content) :]
    except OSError:
        with suppress(OSError):
            file.seek(end)
            file.truncate()
        raise


def remove_temporary_files(path: Path) -> None:
    """Delete temporary files that killed processes left beside ``path`` (see ``atomic_replacement``).

    Files of other running processes stay. This process must not be writing ``path`` meanwhile.
    """
    name = re.compile(rf"\.{re.escape(path.stem[:_MAX_STEM])}\.(\d{{1,9}}){re.escape(path.suffix)}")
    for leftover in path.parent.glob(".*"):
        if (match := name.fullmatch(leftover.name)) and not _is_another_running_process(int(match[1])):
            with suppress(OSError):
                leftover.unlink()


def remove_temporary_files_below(folder: Path) -> None:
    """Delete temporary files that killed processes left in ``folder`` and its subfolders, as above for one file."""
    name = re.compile(r"\..+\.(\d{1,9})(\.[^.]*)?")
    for parent, _, names in os.walk(folder):
        for leftover in names:
            match = name.fullmatch(leftover)
            if match and not _is_another_running_process(int(match[1])):
                with suppress(OSError):
                    Path(parent, leftover).unlink()


def _is_another_running_process(process: int) -> bool:
    if os.name == "nt" or process == os.getpid():  # Windows itself refuses to delete a file in use
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process runs and belongs to another user
        pass
    return True


def _sync_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to the disk. Windows and some network disks cannot, which is ignored."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
