"""The image files that an input names, and paths in messages."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from detect.errors import MediaError
from detect.media import formats


def find_images(source: str) -> list[Path]:
    """Return the image files that ``source`` names, sorted by path, without duplicates.

    source: a file with any suffix; a folder, which stands for the images directly in it; or a pattern such as
        ``input/*.jpg`` or, including sub-folders, ``input/**/*.jpg``.
    Images are files with the suffix of an image format, also of unsupported formats such as HEIC (so that reading
    them reports an error), and files without suffix that begin like an image. Hidden files are skipped.
    Raises MediaError when there is none.
    """
    if not source:  # an unset shell variable; as a path it would be the current folder
        raise MediaError("the input is empty; give an image, a folder or a pattern")
    path = expanded(source)
    suffixes = f"(searched for {', '.join(formats.SUFFIXES)})"
    try:
        if path.is_dir():
            found = _images(path.iterdir())
            if not found:
                raise MediaError(f"no image in the folder {shown(source)} {suffixes}")
            return found
        if os.path.lexists(path):
            return [path]
    except OSError as error:
        raise MediaError(f"cannot list {shown(source)}: {error.strerror}") from None
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):  # not shown, since it may hold a key
        raise MediaError("an image cannot be given as a URL here; download it and give the file")
    if not glob.has_magic(source):
        raise MediaError(f"no such file or folder: {shown(source)}")
    matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    found = _images(map(Path, matches))
    if not found:
        raise MediaError(f"no image matches {shown(source)} {suffixes}")
    return found


def expanded(source: str) -> Path:
    """Return ``source`` as a path, with ``~`` replaced by the home folder unless such a file exists."""
    path = Path(source)
    try:
        return path if os.path.lexists(path) else path.expanduser()
    except RuntimeError:  # ~name of an unknown user
        return path


def shown(path: object) -> str:
    """Return a path for a message: one line of printable characters, whatever bytes its name has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.name[:1] != "." and _is_image(path)})


def _is_image(path: Path) -> bool:
    try:
        if path.suffix.lower() in (*formats.SUFFIXES, *formats.OTHER_SUFFIXES):
            return not path.is_dir()
        return not path.suffix and path.is_file() and formats.begins_as_image(path)
    except OSError:  # without permission to read it, the suffix decides
        return bool(path.suffix)
