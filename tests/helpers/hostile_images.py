"""A folder of unusual and hostile images: readable ones, ones that must be refused, and entries that are not files."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.image_bytes import encoded, jpeg_claiming, png, png_chunk, tiff
from helpers.unusual_images import Odd, readable_images
from helpers.unusual_tiffs import color_tiffs, gray_tiffs, tiffs_without_white

TOO_LARGE = "more than the limit of 178,956,970"


def odd_images(rgb: np.ndarray) -> list[Odd]:
    """Return all images; every readable one shows ``rgb``, uint8 [H, W, 3], as far as its format can store it."""
    groups = (readable_images, gray_tiffs, color_tiffs, tiffs_without_white, _damaged, _absurd, _other_files)
    return [odd for group in groups for odd in group(rgb)]


def lay_out(folder: Path, odds: list[Odd]) -> dict[str, str]:
    """Write the files and other entries; return the message that refuses each of the other entries, by name."""
    for odd in odds:
        (folder / odd.name).write_bytes(odd.content)
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "endless.png").symlink_to("/dev/zero")
    words = {"dangling.jpg": "link to a missing file", "loop.jpg": "symbolic links"}
    words |= dict.fromkeys(("pipe.jpg", "endless.png"), "pipe or a device")
    if os.geteuid() != 0:  # root may read everything
        (folder / "secret.jpg").write_bytes(odds[0].content)
        (folder / "secret.jpg").chmod(0)
        words["secret.jpg"] = "Permission denied"
    return words


def _damaged(rgb: np.ndarray) -> Iterator[Odd]:
    image, noise = Image.fromarray(rgb), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    yield Odd("empty.jpg", b"", words="is empty")
    noisy = Image.fromarray(noise)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"):
        whole = encoded(noisy, kind)
        yield Odd(f"half.{kind.lower()}", whole[: len(whole) // 2], words="half.", in_header=False)
        yield Odd(f"stump.{kind.lower()}", whole[:12], words="stump.", in_header=kind != "PPM")
    squeezed = bytearray(encoded(noisy, "TIFF", compression="tiff_lzw"))
    squeezed[1000:1400] = bytes(400)
    yield Odd("spoiled_lzw.tif", bytes(squeezed), words="damaged", in_header=False)
    whole = png(noise, color=2)
    yield Odd("spoiled.png", whole[:5000] + b"junk" + whole[5004:], words="damaged", in_header=False)
    yield Odd("12_bits.jpg", jpeg_claiming(encoded(Image.fromarray(rgb), "JPEG"), bits=12), words="12 bits")
    yield Odd("no_pixels.png", png(rgb, color=2, claims_hw=(0, 9)), words="no_pixels")
    yield Odd("no_pixels.gif", b"GIF89a" + bytes(7) + b";", words="no_pixels")
    yield Odd("no_lines.jpg", jpeg_claiming(encoded(Image.fromarray(rgb), "JPEG"), hw=(0, 70)), words="no_lines")
    cut = encoded(image, "AVIF")[:200] if "AVIF" in Image.SAVE else b"\0\0\0\x1cftypavif"
    yield Odd("cut.avif", cut, words="cut.avif")


def _absurd(rgb: np.ndarray) -> Iterator[Odd]:
    """Yield images that would need excessive memory or time if they were decoded."""
    jpeg = encoded(Image.fromarray(rgb), "JPEG")
    yield Odd("large.jpg", jpeg_claiming(jpeg, hw=(20_000, 20_000)), words=TOO_LARGE)
    yield Odd("bomb.png", png(rgb, color=2, claims_hw=(50_000, 50_000)), words=TOO_LARGE)
    yield Odd("bomb.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;", words=TOO_LARGE)
    bmp = encoded(Image.fromarray(rgb), "BMP")
    yield Odd("bomb.bmp", bmp[:18] + struct.pack("<ii", 2**30, 2**30) + bmp[26:], words=TOO_LARGE)
    yield Odd("bomb.tif", tiff(rgb, photometric=2, tags={256: [60_000], 257: [60_000]}), words=TOO_LARGE)
    yield Odd("bomb.ppm", b"P6 30000 30000 255\n" + bytes(100), words=TOO_LARGE)
    bomb = zlib.compress(bytes(50_000_000))
    # The profile is skipped without being decompressed, so the image is readable.
    yield Odd("bomb_profile.png", png(rgb, color=2, before=png_chunk(b"iCCP", b"x\0\0" + bomb)), rgb)
    for name, chunk in {
        "text": png_chunk(b"zTXt", b"x\0\0" + bomb),
        "words": png_chunk(b"iTXt", b"x\0\1\0\0\0" + bomb),
    }.items():
        yield Odd(f"bomb_{name}.png", png(rgb, color=2, before=chunk), words=f"bomb_{name}.png")
    inner = png(rgb, color=6, claims_hw=(50_000, 50_000))
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22)
    yield Odd("bomb.ico", b"\0\0\1\0\1\0" + entry + inner, words="bomb.ico")


def _other_files(rgb: np.ndarray) -> Iterator[Odd]:
    """Yield files that only have the name of an image, and images of unsupported formats."""
    for name, content, words in (
        ("text.jpg", b"not an image", "it is text"),
        ("page.jpg", b"\n<!DOCTYPE html><html><title>404</title></html>", "web page"),
        ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        ("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "SVG"),
        ("drawing.jpg", b'<?xml version="1.0"?><svg width="9" height="9"/>', "SVG"),
        ("paper.png", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        ("postscript.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        ("telephone.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), "HEIC"),
        ("telephone.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(400), "HEIC"),
        ("layers.psd", b"8BPS\0\1" + bytes(99), "Photoshop"),
        ("next.jxl", b"\xff\x0a" + bytes(99), "JPEG XL"),
        ("camera.nef", tiff(rgb, photometric=2), "camera raw"),
        ("canon.jpg", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "camera raw"),
        ("film.jpg", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(99), "a video"),
        ("sound.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(99), "sound"),
        ("archive.png", b"PK\3\4" + bytes(99), "zip"),
        ("random.jpg", bytes(range(1, 256)) * 9, "not an image"),
        ("zeros.png", bytes(5000), "not an image"),
    ):
        yield Odd(name, content, words=words)
