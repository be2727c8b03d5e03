"""Images byte by byte, for what no library at hand writes: any depth, layout and metadata, and damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO

import numpy as np
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # y x dy dx


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """What Pillow writes as ``kind``."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def packed(samples: np.ndarray, bits: int, order: str = ">") -> np.ndarray:
    """Samples [H, W] or [H, W, C] as rows of bytes, uint8 [H, B]: 16 bits in ``order``, fewer than 8 from the top."""
    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        return rows.astype(f"{order}u2").view(np.uint8)
    single = (rows[..., None].astype(np.uint16) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    samples: np.ndarray,
    *,
    bits: int = 8,
    color: int,
    interlaced: bool = False,
    before: bytes = b"",
    after: bytes = b"",
    claims_hw: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of ``samples`` [H, W] or [H, W, C].

    color: the format's own number (0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGBA).  before, after: chunks on
    either side of the pixels.  claims_hw: a size for the header that is not the image's.
    """
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    rows = [b"\0" + row.tobytes() for part in parts if part.size for row in packed(part, bits)]
    height, width = claims_hw or samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    pixels = png_chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + pixels + after + png_chunk(b"IEND", b"")


def tiff(
    samples: np.ndarray,
    *,
    bits: int = 8,
    photometric: int,
    order: str = "<",
    planar: bool = False,
    tile: int = 0,
    tags: Mapping[int, Iterable[int]] | None = None,
) -> bytes:
    """An uncompressed TIFF of ``samples`` [H, W, C]: unsigned of ``bits`` bits, or float32.

    order: ``<`` or ``>``, the byte order.  planar: one strip a channel.  tile: side of its tiles, 0 for strips.
    tags: further ones, and those that should be different.
    """
    height, width, channels = samples.shape
    if samples.dtype == np.float32:
        bits, flat = 32, [samples.astype(f"{order}f4").tobytes()]
    elif planar:
        flat = [packed(samples[..., c], bits, order).tobytes() for c in range(channels)]
    elif tile:
        grid = np.pad(samples, ((0, -height % tile), (0, -width % tile), (0, 0)))
        corners = [(y, x) for y in range(0, height, tile) for x in range(0, width, tile)]
        flat = [packed(grid[y : y + tile, x : x + tile], bits, order).tobytes() for y, x in corners]
    else:
        flat = [packed(samples, bits, order).tobytes()]
    offsets = [8 + sum(map(len, flat[:i])) for i in range(len(flat))]
    where, sizes = (324, 325) if tile else (273, 279)
    fields = {
        256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric], 277: [channels],
        278: [height], 284: [2 if planar else 1], where: offsets, sizes: list(map(len, flat)),
        339: [3 if samples.dtype == np.float32 else 1] * channels,
    }  # fmt: skip
    if tile:
        fields |= {322: [tile], 323: [tile]}
    fields |= {tag: list(values) for tag, values in (tags or {}).items()}
    return _tiff_file(fields, b"".join(flat), order)


def _tiff_file(fields: Mapping[int, list[int]], pixels: bytes, order: str) -> bytes:
    pixels += b"\0" * (len(pixels) % 2)
    directory = 8 + len(pixels)
    behind = directory + 2 + 12 * len(fields) + 4
    entries, more = b"", b""
    for tag, values in sorted(fields.items()):
        kind, letter = (4, "I") if tag in (273, 279, 324, 325) else (3, "H")
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(content) > 4:
            content, more = struct.pack(f"{order}I", behind + len(more)), more + content
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, directory)
    return start + pixels + struct.pack(f"{order}H", len(fields)) + entries + b"\0" * 4 + more


def bmp_rle8(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """A BMP of ``indices`` uint8 [H, W] into ``palette`` uint8 RGB [256, 3], each pixel a run of its own."""
    height, width = indices.shape
    ones = np.ones_like(indices)
    rows = np.stack([ones, indices], axis=2).reshape(height, -1)[::-1]
    pixels = b"".join(row.tobytes() + b"\0\0" for row in rows) + b"\0\1"
    table = np.pad(palette[:, ::-1], ((0, 0), (0, 1))).astype(np.uint8).tobytes()
    return _bmp((width, height), 8, 1, table, pixels)


def bmp_565(rgb: np.ndarray) -> bytes:
    """A BMP of 16 bits a pixel."""
    red, green, blue = (rgb[..., c].astype(np.uint16) for c in range(3))
    words = ((red >> 3) << 11 | (green >> 2) << 5 | blue >> 3).astype("<u2")
    rows = np.pad(words, ((0, 0), (0, words.shape[1] % 2)))[::-1]
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    return _bmp(rgb.shape[1::-1], 16, 3, masks, rows.tobytes())


def _bmp(size: tuple[int, ...], bits: int, compression: int, table: bytes, pixels: bytes) -> bytes:
    start = 14 + 40 + len(table)
    color = 256 if bits == 8 else 0
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(pixels), 0, 0, color, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + table + pixels


def jpeg_claiming(jpeg: bytes, *, hw: tuple[int, int] | None = None, bits: int | None = None) -> bytes:
    """``jpeg`` with another size or depth in its header."""
    at = next(i for start in (b"\xff\xc0", b"\xff\xc2") if (i := jpeg.find(start)) > 0)
    depth, height, width = struct.unpack_from(">BHH", jpeg, at + 4)
    height, width = hw or (height, width)
    return jpeg[: at + 4] + struct.pack(">BHH", bits or depth, height, width) + jpeg[at + 9 :]


def jpeg_with(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """``jpeg`` with a segment (0xE1: EXIF) before all others."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def exif(orientation: int) -> bytes:
    """An EXIF block that holds this alone."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def as_it_lies(upright: np.ndarray, orientation: int) -> np.ndarray:
    """``upright`` [H, W, C] as a file holds it whose EXIF says ``orientation``."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    return np.ascontiguousarray(undo(upright))
