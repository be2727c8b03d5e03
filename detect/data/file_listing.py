"""Lists of the files in a folder, by suffix."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detect.errors import DataError
from detect.media import formats
from detect.text import first_few

_IMAGE_SUFFIXES = tuple(formats.SUFFIXES)


@dataclass(frozen=True)
class FileListing:
    """The images and the other files in a folder and below it, without hidden files.

    Attributes:
        folder: Path.
        images: sorted paths of the image files, relative to ``folder``.
        files: sorted paths of all other files by lower-case suffix such as ".json".
    """

    folder: Path
    images: list[PurePosixPath]
    files: dict[str, list[PurePosixPath]]

    @classmethod
    def of(cls, folder: Path) -> FileListing:
        """Return the files of ``folder``. Raises DataError for a folder that cannot be read."""
        files: dict[str, list[PurePosixPath]] = {}
        images: list[PurePosixPath] = []
        for name in map(PurePosixPath, files_below(folder)):
            suffix = name.suffix.lower()
            (images if suffix in _IMAGE_SUFFIXES else files.setdefault(suffix, [])).append(name)
        return cls(folder, images, files)

    def check_has_images(self) -> None:
        """Raise DataError when there is no image."""
        if not self.images:
            others = [str(name) for names in self.files.values() for name in names]
            others = others or [path.name for path in self.folder.iterdir()]
            found = f"; found {first_few(sorted(others), 3)}" if others else ""
            raise DataError(f"no image in {self.folder} or its subfolders (JPEG, PNG, TIFF, WebP, ...){found}")


def files_below(folder: Path, suffixes: tuple[str, ...] = ("",)) -> list[str]:
    """Return the files with one of the lower-case ``suffixes`` in ``folder`` and its subfolders.

    The paths are relative, sorted and have forward slashes. Upper-case suffixes match too. Hidden files and folders
    are ignored. Linked folders are followed, each folder once, since links may form a cycle. Raises DataError for a
    folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename}: {error.strerror}")

    found, visited = [], set()
    for path, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(path).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(path).relative_to(folder)
        found += [(inside / n).as_posix() for n in names if n.lower().endswith(suffixes) and not n.startswith(".")]
    return sorted(found)


def images_below(folder: Path) -> list[str]:
    """Return the image files in ``folder`` and its subfolders, see ``files_below``."""
    return files_below(folder, _IMAGE_SUFFIXES)


def without_suffix(name: str) -> str:
    """Return a relative path without its suffix. An image and its annotation file share this part."""
    return name.rpartition(".")[0] if "." in name.rpartition("/")[2] else name


def replace_folder(path: PurePosixPath, old: str, new: str) -> PurePosixPath:
    """Return a path with its last part ``old``, which must exist, replaced by ``new``."""
    parts = list(path.parts)
    parts[len(parts) - 1 - parts[::-1].index(old)] = new
    return PurePosixPath(*parts)


def read_text_or_empty(path: Path) -> str:
    """Return the text of a file with replacement characters for invalid UTF-8; "" for an unreadable file."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def is_file(path: Path) -> bool:
    """Return whether ``path`` is a file; False for names that no file system accepts.

    ``Path.is_file`` raises for such names before Python 3.14.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
