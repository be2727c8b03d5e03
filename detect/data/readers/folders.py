"""Images and the annotation files beside them: who belongs to whom."""

from __future__ import annotations

import os
from pathlib import Path

from detect.errors import DataError
from detect.media import formats

_IMAGES = tuple(formats.SUFFIXES)


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files with one of ``suffixes`` (capitals do not count) in ``folder`` and below it, as sorted relative paths
    with slashes. Hidden files and folders are passed over; links to folders are followed, each folder once, as they
    may lead round in circles. DataError for a folder that cannot be looked into.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot look into {error.filename}: {error.strerror}")

    found, seen = [], set()
    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(where).relative_to(folder)
        found += [(inside / n).as_posix() for n in names if n.lower().endswith(suffixes) and not n.startswith(".")]
    return sorted(found)


def text_of(path: Path) -> str:
    """What stands in a file, with marks for what is no UTF-8; "" where that cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def images_below(folder: Path) -> list[str]:
    """``files_below`` with the suffix of an image."""
    return files_below(folder, _IMAGES)


def stem(name: str) -> str:
    """A relative path without its suffix: what an image and its annotations share."""
    return name.rpartition(".")[0] if "." in name.rpartition("/")[2] else name
