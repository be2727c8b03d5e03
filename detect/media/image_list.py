"""Text files that list images, one path per line."""

from __future__ import annotations

import os
from pathlib import Path

from detect.errors import MediaError
from detect.media import formats

LIST_SUFFIX = ".txt"
_NUL = b"\0"


def is_image_list(path: Path) -> bool:
    """Return whether a file lists images: its suffix is .txt, and its content is no image. Raises OSError."""
    return path.suffix.lower() == LIST_SUFFIX and path.is_file() and not formats.begins_as_image(path)


def read_image_list(path: Path) -> list[Path]:
    """Return the images in a text file with one path per line, in their order, also those that do not exist.

    A relative path is relative to the current folder, or to the folder of the list if only that exists. Empty lines
    are skipped. Names may have bytes that are not UTF-8. Raises MediaError for a file without a line, and OSError.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")  # byte order mark of Windows
    if _NUL in content:
        raise MediaError(f"{path} is not a list of images: expected UTF-8 text with one path per line")
    lines = [os.fsdecode(line) for line in content.splitlines() if line.strip()]
    if not lines:
        raise MediaError(f"the list of images {path} is empty")
    return [_located(line, path.parent) for line in lines]


def _located(line: str, folder: Path) -> Path:
    beside = folder / line
    return beside if not os.path.lexists(line) and os.path.lexists(beside) else Path(line)
