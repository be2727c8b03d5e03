"""What images are called in a new dataset: as before where that can be."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from detect.data.exporters import Exporter
from detect.data.exporters.annotated_images import Parts, printable
from detect.data.file_listing import without_suffix
from detect.data.table import Table
from detect.io.files import fit_file_name
from detect.media import formats

_SUFFIXES = tuple(formats.SUFFIXES)


def choose_names(
    parts: Parts, exporter: Exporter, wished: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[str]]:
    """A name for each image of each split, unique in the folder that the format puts it in.

    It is that which is ``wished``, by default the one in the table, where that is relative and stays in the folder,
    else the last part of it. Names that differ in capitals alone are one on many disks: the later one gets _2, _3,
    ... Where splits share a folder, an image of both with the same objects has one name.
    """
    taken: dict[str, dict[str, int]] = {}  # by folder: of each name the last number tried
    found: dict[tuple[str, Path], tuple[str, int]] = {}  # the first split that an image is in, and where
    names: dict[str, list[str]] = {}
    for split, table in parts.items():
        folder, names[split] = exporter.images(split), []
        for i in range(len(table)):
            path = table.path(i).absolute()
            other, j = found.setdefault((folder, path), (split, i))
            if other != split and _same_things(table, i, parts[other], j):
                names[split].append(names[other][j])
                continue
            wish = _relative(wished[split][i] if wished else table.names[i])
            wanted = exporter.fitting(wish.removeprefix(f"{split}/"))  # a folder of that name it gets anyway
            if exporter.by_stem and not wanted.lower().endswith(_SUFFIXES):
                wanted += ".jpg"  # readers look for images by their suffix, and into them to see what they are
            names[split].append(_free(wanted, taken.setdefault(folder, {}), exporter.by_stem))
    return names


def _relative(name: str) -> str:
    """The name as a path that stays in its folder, in which no part is hidden or not to be printed."""
    path = PurePosixPath(posixpath.normpath(name))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).anchor:
        path = PurePosixPath(PureWindowsPath(path.name).name)
    return "/".join(printable(part).lstrip(".") or "_" for part in path.parts)


def _free(name: str, taken: dict[str, int], by_stem: bool) -> str:
    """``name`` or one with a number, which is taken from now on."""

    def key(one: str) -> str:
        return unicodedata.normalize("NFC", without_suffix(one) if by_stem else one).casefold()

    path, free, first = PurePosixPath(name), name, key(name)
    while key(free) in taken:
        taken[first] += 1
        free = path.with_name(fit_file_name(path.stem, f"_{taken[first]}{path.suffix}")).as_posix()
    taken[key(free)] = 1
    return free


def _same_things(table: Table, i: int, other: Table, j: int) -> bool:
    ours, theirs = (slice(int(t.object_starts[k]), int(t.object_starts[k + 1])) for t, k in ((table, i), (other, j)))
    columns = ("boxes", "labels", "iscrowd")
    return all(np.array_equal(getattr(table, name)[ours], getattr(other, name)[theirs]) for name in columns)
