"""The image files that an input names, and paths in messages."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from detect.errors import MediaError
from detect.media import formats
from detect.media.image_list import is_image_list, read_image_list
from detect.progress import warn
from detect.text import first_few

_EMPTY = "the input is empty; give an image, a folder or a pattern"
_SEARCHED = f"(searched for {', '.join(formats.SUFFIXES)})"


class NoImagesInFolderError(MediaError):
    """A folder that holds no image."""


def find_all_images(sources: Sequence[str]) -> list[Path]:
    """Return the image files that several sources name, in their order and without duplicates; see ``find_images``.

    A folder without images gives a warning if another source has images, since a shell's pattern also names folders.
    """
    found: dict[str, Path] = {}
    empty: list[str] = []
    for source in sources:
        try:
            images = find_images(source)
        except NoImagesInFolderError as error:
            empty.append(str(error))
            continue
        for path in images:
            found.setdefault(os.path.abspath(path), path)  # noqa: PTH100 - Path.resolve would follow links
    if not found:
        raise MediaError(empty[0] if empty else _EMPTY)
    if empty:
        warn(first_few(empty, 3))
    return list(found.values())


def find_images(source: str) -> list[Path]:
    """Return the image files that ``source`` names, sorted by path, without duplicates.

    source: a file with any suffix; a text file (.txt) with one path per line, whose order is kept and whose images
        need not exist; a folder, which stands for the images directly in it; or a pattern such as
        ``input/*.jpg`` or, including sub-folders, ``input/**/*.jpg``. Existing files and folders are taken literally,
        so that ``photos [2024]/*.jpg`` are the images of the folder ``photos [2024]``.
    Images are files with the suffix of an image format, also of unsupported formats such as HEIC (so that reading
    them reports an error), and files without suffix that begin like an image. Hidden files are skipped.
    Raises MediaError when there is none.
    """
    if not source.strip() and not os.path.lexists(source):  # an unset shell variable is not the current folder
        raise MediaError(_EMPTY)
    path = existing_path(source)
    try:
        if path.is_dir():
            found = _images(path.iterdir())
            if not found:
                raise NoImagesInFolderError(f"no image in the folder {shown(source)} {_SEARCHED}")
            return found
        if os.path.lexists(path):
            return read_image_list(path) if is_image_list(path) else [path]
    except OSError as error:
        raise MediaError(f"cannot list {shown(source)}: {error.strerror}") from None
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):  # not shown, since it may hold a key
        raise MediaError("an image cannot be given as a URL here; download it and give the file")
    if not glob.has_magic(str(Path(*_existing_part(source)[1]))):
        raise MediaError(f"no such file or folder: {shown(source)}{_hint(source)}")
    for pattern in _patterns(source):
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        if found := _images(map(Path, matches)):
            return found
    raise MediaError(f"no image matches {shown(source)}{_hint(source)} {_SEARCHED}")


def existing_path(source: str) -> Path:
    """Return ``source`` as a path, as it is written if such a file exists, else in the first spelling that does.

    Other spellings are those with ``~`` for the home folder, without spaces or quotes around it, and with the
    backslashes of Windows or of a shell. All but ``~`` give a warning. Without any such file, ``source`` is returned
    with ``~`` replaced.
    """
    path = _expanded(source)
    if os.path.lexists(path):
        return path
    for spelling in _other_spellings(source):
        if spelling and os.path.lexists(other := _expanded(spelling)):
            warn(f"'{shown(source)}' does not exist; using {shown(other)}")
            return other
    return path


def _expanded(source: str) -> Path:
    path = Path(source)
    try:
        return path if os.path.lexists(path) else path.expanduser()
    except RuntimeError:  # ~name of an unknown user
        return path


def _other_spellings(source: str) -> Iterator[str]:
    bare = source.strip()
    if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "'\"":
        bare = bare[1:-1]
    yield bare
    if os.sep == "/" and "\\" in bare:
        yield bare.replace("\\", "/")
        yield re.sub(r"\\(.)", r"\1", bare)  # photos\ 2024/a.jpg, escaped for a shell and in quotes too


def _patterns(source: str) -> Iterator[str]:
    """Yield the patterns to try: with existing folders taken literally, then with all brackets taken literally."""
    for spelling in dict.fromkeys((source, *_other_spellings(source))):
        if spelling:
            fixed, rest = _existing_part(spelling)
            yield os.path.join(glob.escape(str(fixed)), *rest)  # noqa: PTH118 - "" for a pattern without folder
            yield os.path.join(glob.escape(str(fixed)), *(part.replace("[", "[[]") for part in rest))  # noqa: PTH118


def _existing_part(source: str) -> tuple[Path, tuple[str, ...]]:
    """Return the longest part of a path that exists, and the remaining parts of the path."""
    parts = _expanded(source).parts
    count = next((n for n in range(len(parts), 0, -1) if os.path.lexists(Path(*parts[:n]))), 0)
    return Path(*parts[:count]), parts[count:]


def _hint(source: str) -> str:
    """Return what may be wrong with a source that names nothing, as the end of a sentence."""
    if os.sep == "/" and (re.match(r"[A-Za-z]:[\\/]", source) or ("\\" in source and "/" not in source)):
        return "; this looks like a path of Windows, but folders are separated by / here"
    folder, rest = _existing_part(source)
    existing = f"; the folder {shown(folder)} exists, but not {shown(Path(*rest))} in it" if folder.name else ""
    if any("[" in part for part in rest) and glob.has_magic(source):
        escaped = shown(Path(folder, *(part.replace("[", "[[]") for part in rest)))
        return f"{existing}; in a pattern, [[] stands for the bracket [, as in '{escaped}'"
    return existing


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
