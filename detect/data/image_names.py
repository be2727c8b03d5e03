"""Image files for the names that annotations write, which may differ from the names on disk.

Other programs write names percent-encoded, with backslashes, in another case, with another suffix or none, with
accents as separate characters, and with the folders or the prefix of a server: ``/data/upload/3/1a2b3c4d-a.jpg``.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from detect.data.file_listing import images_below
from detect.data.splits import split_from_path
from detect.media import formats

_IMAGE_SUFFIXES = tuple(formats.SUFFIXES)
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{4,32}[-_](?=.)")  # of files uploaded to Label Studio and similar servers
_Key = Callable[[str], str]
_QUERY = re.compile(r"[?#].*$")
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*:/+", re.IGNORECASE)  # a path may have lost one of the slashes


def match_names(written: Iterable[str], on_disk: Collection[str], used: Collection[str] = ()) -> dict[str, str]:
    """Return {written name: image file} for the names that fit one image file only, which fits no other name.

    Names are compared in steps, from almost equal to equal in the last part only. A file that fits at an earlier step
    is not considered at later ones. Names that differ in case or encoding alone mean the same file. Where several
    folders have files of one name, a name in one of these folders does not mean a file in another one.

    written: names without an equal image file, with or without a suffix.
    on_disk: image files that no name equals, as relative paths with forward slashes.
    used: image files that some name equals.
    """
    names, files = dict.fromkeys(written), dict.fromkeys(on_disk)
    found: dict[str, str] = {}
    same_path: tuple[_Key, ...] = (_folded, _decoded)
    for key in same_path:
        files_of = _by_key((*files, *used), key)
        found |= {name: files_of[key(name)][0] for name in names if len(files_of.get(key(name), ())) == 1}
        names, files = _without(names, found), _without(files, set(found.values()))
    folders = folders_that_matter((*on_disk, *used)) if names else set()
    same_end: tuple[_Key, ...] = (comparable, _last_parts(3), _last_parts(2), _last_part, _last_stem)
    steps = [*((key, key) for key in same_end), (_without_prefix, _last_stem), (_last_stem, _without_prefix)]
    for key_of_name, key_of_file in steps:
        names_of, files_of = _by_key(names, key_of_name), _by_key(files, key_of_file)
        for value, same in names_of.items():
            candidates = [file for file in files_of.get(value, ()) if _may_mean(same[0], file, folders)]
            if len(same) == len(candidates) == 1:
                found[same[0]] = candidates[0]
        names, files = _without(names, found), _without(files, set(found.values()))
    return found


def match_to_files(folder: Path, names: Iterable[str], missing: Collection[str]) -> dict[str, str]:
    """Return {name: image file in ``folder`` or its subfolders} for the ``missing`` names that ``match_names`` finds.

    names: all image names that the annotations write.
    missing: those of them that are no files of the folder.
    """
    if not missing or not folder.is_dir():
        return {}
    used = set(names).difference(missing)
    return match_names(missing, [file for file in images_below(folder) if file not in used], used)


def comparable(name: str) -> str:
    """Return a path in the form in which paths are compared: decoded, with forward slashes, lower case, no suffix."""
    return _without_image_suffix(_decoded(name))


def _by_key(names: Iterable[str], key: _Key) -> dict[str, list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def _without(names: Iterable[str], matched: Collection[str]) -> dict[str, None]:
    return dict.fromkeys(name for name in names if name not in matched)


def folders_that_matter(files: Collection[str]) -> set[str]:
    """Return the folders of ``files``, if files of different folders have the same name; otherwise none."""
    folders_of_name = defaultdict(set)
    for file in files:
        folder, _, name = comparable(file).rpartition("/")
        folders_of_name[name].add(folder)
    if all(len(folders) == 1 for folders in folders_of_name.values()):
        return set()
    return set().union(*folders_of_name.values())


def _may_mean(written: str, file: str, folders: Collection[str]) -> bool:
    """Return whether nothing in the folders of the two paths contradicts that they are the same image.

    folders: as returned by ``folders_that_matter``.
    """
    return not _splits_differ(written, file) and not folders_differ(written, file, folders)


def folders_differ(written: str, file: str, folders: Collection[str]) -> bool:
    """Return whether the path ``written`` names one of ``folders``, and ``file`` is not in it.

    folders: as returned by ``folders_that_matter``.
    """
    parts = _decoded(written).split("/")[:-1] if folders else []
    tails = ("/".join(parts[first:]) for first in range(len(parts)))
    folder = next((tail for tail in tails if tail in folders), None)
    return folder is not None and folder != _decoded(file).rpartition("/")[0]


def _splits_differ(written: str, file: str) -> bool:
    """Return whether the folders of the two paths name different splits."""
    one, other = (split_from_path(PurePosixPath(_decoded(path)).parent) for path in (written, file))
    return one is not None and other is not None and one != other


def _folded(name: str) -> str:
    """Return a name without differences of case and of the encoding of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _decoded(name: str) -> str:
    """Return a path without percent-encoding, backslashes and parts such as ``./``."""
    for _ in range(2):  # %2520 is a space that was encoded twice
        name = unquote(name, errors="replace")
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return _folded("/".join(parts)).strip()


def _without_image_suffix(path: str) -> str:
    name, _, suffix = path.rpartition(".")
    return name if name and f".{suffix}" in _IMAGE_SUFFIXES else path


def _last_parts(count: int) -> _Key:
    return lambda name: "/".join(_decoded(name).split("/")[-count:])


def _last_part(name: str) -> str:
    """Return the last part of a path or of an address, without the query of an address."""
    if _ADDRESS.match(name):  # the query of a signed address may contain slashes; ``#`` may belong to a name
        path, _, _ = name.partition("?")
        name = path if PurePosixPath(path).suffix.lower() in _IMAGE_SUFFIXES else name
    return _QUERY.sub("", _decoded(name).rpartition("/")[2]) or _decoded(name)


def _last_stem(name: str) -> str:
    return _without_image_suffix(_last_part(name))


def _without_prefix(name: str) -> str:
    return _UPLOAD_PREFIX.sub("", _last_stem(name))
