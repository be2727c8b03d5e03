"""What the headers of the images tell: which are missing or none, and which are of another size than annotated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from detect import progress
from detect.data.columns import StringColumn
from detect.data.quality.checks.annotations import Found
from detect.data.readers.folders import images_below
from detect.data.readers.parsing import is_file
from detect.data.table import Table
from detect.errors import MediaError
from detect.media.images import Header, read_header

_MANY = 5000  # images from which on a bar is shown
_THREADS = 4  # which wait for the disk


def with_names_on_disk(table: Table) -> Table:
    """With the names under which images are there, where those that are written are not: with other capitals, as
    some systems do not tell them apart, or with a way through folders of another machine, by the last part."""
    folder = str(table.folder)  # joined as text, since a path is an object and there may be 118,000
    is_there = os.path.isfile
    missing = [row for row, name in enumerate(table.names) if not is_there(os.path.join(folder, name))]  # noqa: PTH118
    if not missing or not table.folder.is_dir():
        return table
    there = images_below(table.folder)
    by_name = {name.casefold(): name for name in there}
    by_last: dict[str, set[str]] = {}
    for name in there:
        by_last.setdefault(PurePosixPath(name).name.casefold(), set()).add(name)
    names = list(table.names)
    for row in missing:
        written = PurePosixPath(names[row])
        same = by_last.get(written.name.casefold(), set()) if ".." in written.parts else set()
        names[row] = by_name.get(names[row].casefold(), min(same) if len(same) == 1 else names[row])
    return replace(table, names=StringColumn.of(names))


def read_headers(table: Table) -> list[Header | str]:
    """The header of each image, or in words why there is none."""
    with ThreadPoolExecutor(_THREADS) as pool:
        paths = (table.path(i) for i in range(len(table)))
        headers = pool.map(_header, paths)
        return list(progress.bar(headers, total=len(table), desc="looking at images", disable=len(table) < _MANY))


def with_sizes(table: Table, headers: list[Header | str]) -> Table:
    """With the images' own sizes where the annotations do not say."""
    hw = [(0, 0) if isinstance(header, str) else header.image_hw for header in headers]
    found = np.array(hw, np.int32).reshape(-1, 2)
    return replace(table, image_hw=np.where(table.image_hw > 0, table.image_hw, found))


def check_headers(table: Table, headers: list[Header | str]) -> Iterator[Found]:
    """missing_image, unreadable_image, exif_turned and wrong_size, at most one an image."""
    places: dict[str, list[tuple[int, str]]] = {}
    for row, (header, hw) in enumerate(zip(headers, table.image_hw.tolist(), strict=True)):
        for kind, value in _problems(table.path(row), header, tuple(hw)):
            places.setdefault(kind, []).append((row, value))
    for kind, found in places.items():
        yield Found(kind, np.array([row for row, _ in found]), np.array([value for _, value in found], object))


def _problems(path: Path, header: Header | str, annotated_hw: tuple[int, int]) -> Iterator[tuple[str, str]]:
    if isinstance(header, str):
        yield ("unreadable_image", header) if is_file(path) else ("missing_image", "")
        return
    (height, width), (annotated_height, annotated_width) = header.image_hw, annotated_hw
    if header.image_hw != annotated_hw:
        turned = header.turned and annotated_hw == (width, height)
        value = f"it is {width}x{height} pixels, its annotations are for {annotated_width}x{annotated_height}"
        yield "exif_turned" if turned else "wrong_size", value


def _header(path: Path) -> Header | str:
    try:
        return read_header(path)
    except MediaError as error:
        return str(error)
