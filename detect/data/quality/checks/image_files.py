"""Checks of whole image files: truncated data, wrong file extension, unusual pixel formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from detect.data.table import Table
from detect.data.validation.annotations import Finding
from detect.media import formats
from detect.media.color import FEW_GRAY_LEVELS
from detect.media.fingerprint import Fingerprint
from detect.media.images import Header

FEW_LEVELS = "few_gray_levels"
_MODES = {
    "1": "black and white",
    "L": "grayscale",
    "LA": "grayscale with alpha",
    "RGBA": "RGB with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "LAB",
}


def check_files(
    table: Table, headers: Sequence[Header | str], fingerprints: Sequence[Fingerprint]
) -> Iterator[Finding]:
    """Find truncated images, extensions that differ from the format, and images that are not 8-bit RGB or lose
    much when they are converted to it.

    headers: one per image, or a message for an unreadable file.  fingerprints: one per image.
    """
    truncated, renamed, converted, dark = [], [], [], []
    for row, (name, header, fingerprint) in enumerate(zip(table.names, headers, fingerprints, strict=True)):
        if isinstance(header, str):
            continue
        if fingerprint.problem:
            truncated.append((row, fingerprint.problem))
        if not formats.suits(PurePosixPath(name).suffix, header.form):
            renamed.append((row, header.form))
        if fingerprint.has_few_gray_levels:
            dark.append((row, f"fewer than {FEW_GRAY_LEVELS} of 256 levels"))
        elif pixels := _pixel_format(header):
            converted.append((row, pixels))
    found = {"truncated_image": truncated, "wrong_extension": renamed, "not_8bit_rgb": converted, FEW_LEVELS: dark}
    for kind, pairs in found.items():
        yield Finding.of_pairs(kind, pairs)


def _pixel_format(header: Header) -> str:
    """Return the pixel format in words, such as "16-bit grayscale"; "" for 8-bit RGB."""
    mode = "grayscale" if header.mode[:1] in "IF" else _MODES.get(header.mode, "")
    return " ".join(filter(None, (f"{header.bits}-bit" if header.bits != 8 else "", mode)))
