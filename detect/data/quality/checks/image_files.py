"""What the files of images tell when all of them is read, beyond what their headers do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from detect.data.quality.checks.annotations import Found
from detect.data.table import Table
from detect.media import formats
from detect.media.fingerprint import Look
from detect.media.images import Header

_MODES = {
    "1": "black and white",
    "L": "gray",
    "LA": "gray and transparent",
    "RGBA": "transparent",
    "P": "palette",
    "PA": "palette and transparent",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "LAB",
}


def check_files(table: Table, headers: Sequence[Header | str], looks: Sequence[Look]) -> Iterator[Found]:
    """truncated_image, wrong_extension and odd_pixels."""
    broken, renamed, odd = [], [], []
    for row, (name, header, look) in enumerate(zip(table.names, headers, looks, strict=True)):
        if isinstance(header, str):
            continue
        if look.problem:
            broken.append((row, look.problem))
        if not formats.suits(PurePosixPath(name).suffix, header.form):
            renamed.append((row, header.form))
        if pixels := _pixels(header):
            odd.append((row, pixels))
    for kind, found in (("truncated_image", broken), ("wrong_extension", renamed), ("odd_pixels", odd)):
        yield Found(kind, np.array([row for row, _ in found], np.int64), np.array([v for _, v in found], object))


def _pixels(header: Header) -> str:
    """What an image is that is not 8-bit RGB, in words."""
    gray = header.mode[:1] in "IF"
    words = [f"{header.bits}-bit" if header.bits != 8 else "", "gray" if gray else _MODES.get(header.mode, "")]
    return " ".join(filter(None, words))
