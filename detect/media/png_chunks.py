"""Access to parts of PNG files that Pillow does not report, or refuses to read."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from detect.media.encoding import EncodedImage


def bits_per_sample(path: Path | EncodedImage) -> int:
    """Return the bits per sample of a PNG, as its header states them."""
    with path.open("rb") as file:
        return file.read(25)[24]


def _chunks(path: Path | EncodedImage) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, offset in the file, number of bytes with header and checksum) of each chunk of a PNG."""
    with path.open("rb") as file:
        offset = file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            yield kind, offset, length + 12
            offset = file.seek(length + 4, os.SEEK_CUR)


def has_metadata_behind_pixels(path: Path | EncodedImage) -> bool:
    """Return whether a PNG has EXIF or text (which may hold XMP or older EXIF) after its pixels."""
    has_pixels = False
    for kind, _, _ in _chunks(path):
        if has_pixels and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
            return True
        has_pixels = has_pixels or kind == b"IDAT"
    return False


def without_color_profile(path: Path | EncodedImage) -> bytes:
    """Return the bytes of a PNG without its embedded color profile."""
    with path.open("rb") as file:
        content = file.read()
    kept = [content[start : start + size] for kind, start, size in _chunks(path) if kind != b"iCCP"]
    return content[:8] + b"".join(kept)
