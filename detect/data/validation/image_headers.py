"""Checks of image headers: missing and unreadable files, and sizes that differ from the annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from detect import progress
from detect.data.file_listing import is_file
from detect.data.slow_reading import name_slow
from detect.data.table import Table
from detect.data.validation.annotations import Finding
from detect.errors import MediaError
from detect.io.threads import map_in_threads
from detect.media.images import Header, read_header

_BAR_MIN_IMAGES = 5000  # number of images from which a progress bar is shown
_THREADS = 4  # they mostly wait for the disk


def read_headers(table: Table) -> list[Header | str]:
    """Return the header of each image, or the message of the error that reading it raised."""
    headers = name_slow(
        map_in_threads(lambda i: _header(table.path(i)), range(len(table)), _THREADS), lambda i: [str(table.path(i))]
    )
    total, text = len(table), "reading image headers"
    return list(progress.bar(headers, total=total, desc=text, min_items=_BAR_MIN_IMAGES))


def with_sizes(table: Table, headers: list[Header | str]) -> Table:
    """Return the table with image sizes from the headers where the annotations do not state them."""
    sizes = [(0, 0) if isinstance(header, str) else header.image_hw for header in headers]
    from_headers = np.array(sizes, np.int32).reshape(-1, 2)
    return replace(table, image_hw=np.where(table.image_hw > 0, table.image_hw, from_headers))


def check_headers(table: Table, headers: list[Header | str]) -> Iterator[Finding]:
    """Find missing images, unreadable images, and sizes that differ from the annotations; at most one per image."""
    found: dict[str, list[tuple[int, str]]] = {}
    for row, (header, hw) in enumerate(zip(headers, table.image_hw.tolist(), strict=True)):
        for kind, value in _problems(table.path(row), header, tuple(hw)):
            found.setdefault(kind, []).append((row, value))
    for kind, pairs in found.items():
        yield Finding.of_pairs(kind, pairs)


def _problems(path: Path, header: Header | str, annotated_hw: tuple[int, int]) -> Iterator[tuple[str, str]]:
    if isinstance(header, str):
        yield ("unreadable_image", header) if is_file(path) else ("missing_image", "")
        return
    if header.image_hw != annotated_hw:
        (height, width), (annotated_height, annotated_width) = header.image_hw, annotated_hw
        value = f"the image has {width}x{height} pixels, its annotations are for {annotated_width}x{annotated_height}"
        yield "image_size_mismatch", value


def _header(path: Path) -> Header | str:
    try:
        return read_header(path)
    except MediaError as error:
        return str(error)
