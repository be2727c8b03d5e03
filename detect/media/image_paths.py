"""Which images an input means, and how a path is written in a line of text."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from detect.errors import MediaError
from detect.media import formats


def find_images(source: str) -> list[Path]:
    """The images that ``source`` means, sorted by path, each once.

    A file is taken whatever its suffix. A folder gives the images directly in it: what has an image's suffix and
    is no folder, also where ``read_image`` will have to refuse it (HEIC, a dangling link), and files without any
    suffix that begin like an image. Else ``source`` is a pattern, ``input/*.jpg`` or, for sub-folders too,
    ``input/**/*.jpg``, and gives the images it matches. Hidden files are passed over. Raises MediaError where
    nothing is found.
    """
    if not source:  # a variable that the shell does not know; as a path it would be the current folder
        raise MediaError("the input is empty; give an image, a folder or a pattern")
    path = expanded(source)
    looked_for = f"(looked for {', '.join(formats.SUFFIXES)})"
    try:
        if path.is_dir():
            found = _images(path.iterdir())
            if not found:
                raise MediaError(f"no image in the folder {shown(source)} {looked_for}")
            return found
        if os.path.lexists(path):
            return [path]
    except OSError as error:
        raise MediaError(f"cannot look into {shown(source)}: {error.strerror}") from None
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):  # not shown, since it may hold a key
        raise MediaError("an image cannot be given as a web address; download it and give the file")
    if not glob.has_magic(source):
        raise MediaError(f"no such file or folder: {shown(source)}")
    found = _images(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise MediaError(f"no image matches {shown(source)} {looked_for}")
    return found


def expanded(source: str) -> Path:
    """``source`` as a path, with ``~`` for the home folder unless a file is called so."""
    path = Path(source)
    try:
        return path if os.path.lexists(path) else path.expanduser()
    except RuntimeError:  # ~name of nobody
        return path


def shown(path: object) -> str:
    """``path``, or what stands for one, for a line of text: on one line and printable, whatever bytes its name has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.name[:1] != "." and _is_image(path)})


def _is_image(path: Path) -> bool:
    try:
        if path.suffix.lower() in (*formats.SUFFIXES, *formats.OTHER_SUFFIXES):
            return not path.is_dir()
        return not path.suffix and path.is_file() and formats.begins_as_image(path)
    except OSError:  # may not be looked at: its suffix decides
        return bool(path.suffix)
