"""JPEG files whose end is missing are read on request, as far as they can be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.errors import MediaError
from detect.media.images import read_image
from detect.media.scaled_decoding import read_resized

HW = (240, 320)


@pytest.fixture
def photograph() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(HW[::-1], Image.Resampling.BICUBIC)


def truncated(folder: Path, image: Image.Image, fraction: float = 1.0, tail: bytes = b"", **options) -> Path:
    """Write a JPEG of which ``fraction`` of the bytes, without the last 20, are followed by ``tail``."""
    path = folder / "cut.jpg"
    image.save(path, quality=90, **options)
    content = path.read_bytes()
    path.write_bytes(content[: round(fraction * (len(content) - 20))] + tail)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"},
    ],
)
def test_a_jpeg_without_its_last_bytes_is_read_and_reported(tmp_path, photograph, options):
    path, calls = truncated(tmp_path, photograph, **options), []
    with pytest.raises(MediaError, match=r"cut\.jpg: damaged or truncated"):
        read_image(path)
    image = read_image(path, on_truncated=lambda: calls.append(path))
    assert calls == [path]
    expected = np.asarray(photograph)
    if "exif" in options:
        expected = np.rot90(expected, 3)
    assert image.shape == expected.shape
    assert np.median(np.abs(image.astype(int) - expected)) < 5
    _, hw = read_resized(path, (48, 64), on_truncated=lambda: calls.append(path))
    assert hw == image.shape[:2] and calls == [path] * 2


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colors_are_recovered_too(tmp_path, photograph, mode):
    assert read_image(truncated(tmp_path, photograph.convert(mode)), on_truncated=bool).shape == (*HW, 3)


def test_a_missing_end_that_is_filled_with_zeros_becomes_gray(tmp_path, photograph):
    image = read_image(truncated(tmp_path, photograph, 0.9, tail=bytes(3000)), on_truncated=bool)
    assert (np.abs(image[-8:].astype(int) - 128) <= 2).all()


@pytest.mark.parametrize(("fraction", "readable"), [(0.95, True), (0.85, True), (0.6, False), (0.05, False)])
def test_an_image_with_more_than_a_quarter_missing_is_an_error(tmp_path, photograph, fraction, readable):
    path, calls = truncated(tmp_path, photograph, fraction), []
    if readable:
        assert read_image(path, on_truncated=lambda: calls.append(1)).shape == (*HW, 3)
    else:
        with pytest.raises(MediaError, match="damaged or truncated"):
            read_image(path, on_truncated=lambda: calls.append(1))
    assert bool(calls) is readable


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_truncated_formats_are_errors(tmp_path, photograph, kind):
    path = tmp_path / "cut.img"
    photograph.save(path, kind)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 8])
    with pytest.raises(MediaError):
        read_image(path, on_truncated=bool)


def test_a_whole_image_is_not_reported(tmp_path, photograph):
    photograph.save(tmp_path / "whole.jpg")
    calls = []
    assert np.array_equal(
        read_image(tmp_path / "whole.jpg", on_truncated=lambda: calls.append(1)), read_image(tmp_path / "whole.jpg")
    )
    assert not calls
