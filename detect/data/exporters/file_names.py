"""Names of the images in a new dataset: the original ones where possible."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from detect.data.exporters.export_rows import printable
from detect.data.exporters.exporter import Exporter
from detect.data.file_listing import without_suffix
from detect.data.table import Table
from detect.io.files import fit_file_name
from detect.media import formats

_SUFFIXES = tuple(formats.SUFFIXES)


def choose_names(
    parts: Mapping[str, Table], exporter: Exporter, preferred: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """Return a name for each image of each split, relative to ``exporter.image_folder(split)``.

    A name is the preferred one, by default the original one; an absolute path, or one that leaves its folder, is
    reduced to its last part. Of names that differ only in case, which many disks do not distinguish, the later ones
    get _2, _3, ... An image in two splits that share a folder has one name if its objects are equal in both.
    """
    taken: dict[str, dict[str, int]] = {}  # by folder: last number tried for each name
    first_use: dict[tuple[str, Path], tuple[str, int]] = {}  # (split, index) of each image in a folder
    names: dict[str, list[str]] = {}
    for split, table in parts.items():
        folder, names[split] = exporter.image_folder(split), []
        for i in range(len(table)):
            path = table.path(i).absolute()
            other, j = first_use.setdefault((folder, path), (split, i))
            if other != split and _objects_equal(table, i, parts[other], j):
                names[split].append(names[other][j])
                continue
            wish = _relative(preferred[split][i] if preferred else table.names[i])
            name = exporter.adapt_name(wish.removeprefix(f"{split}/"))  # the new folder is named after the split
            if exporter.unique_stems and not name.lower().endswith(_SUFFIXES):
                name += ".jpg"  # readers find images by suffix, and detect the file format from the content
            names[split].append(unused_name(name, taken.setdefault(folder, {}), exporter.unique_stems))
    return names


def _relative(name: str) -> str:
    """Return a relative path that stays in its folder, without hidden parts and unprintable characters."""
    path = PurePosixPath(posixpath.normpath(name))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).anchor:
        path = PurePosixPath(PureWindowsPath(path.name).name)
    return "/".join(printable(part).lstrip(".") or "_" for part in path.parts)


def unused_name(name: str, taken: dict[str, int], unique_stems: bool) -> str:
    """Return ``name``, with a number if it is taken, and add it to ``taken``."""

    def key(candidate: str) -> str:
        compared = without_suffix(candidate) if unique_stems else candidate
        return unicodedata.normalize("NFC", compared).casefold()

    path, unused, first = PurePosixPath(name), name, key(name)
    while key(unused) in taken:
        taken[first] += 1
        unused = path.with_name(fit_file_name(path.stem, f"_{taken[first]}{path.suffix}")).as_posix()
    taken[key(unused)] = 1
    return unused


def _objects_equal(table: Table, i: int, other: Table, j: int) -> bool:
    """Return whether image i of ``table`` and image j of ``other`` have equal boxes, labels and crowd flags."""
    rows, other_rows = table.objects(i), other.objects(j)
    columns = ("boxes", "labels", "iscrowd")
    return all(np.array_equal(getattr(table, name)[rows], getattr(other, name)[other_rows]) for name in columns)
