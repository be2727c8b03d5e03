"""Reduced decoding of large JPEGs: scale, positions, colors and detail."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.image_bytes import as_it_lies
from PIL import Image

from detect.errors import MediaError
from detect.media.images import decode, read_image
from detect.media.scaled_decoding import read_resized

HW = 1203, 1601  # neither divides by 2, 4 or 8
TURNS = range(1, 9)


def written(path: Path, upright: np.ndarray, orientation: int = 1, mode: str = "RGB", **options) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(as_it_lies(upright, orientation)).convert(mode)
    image.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}), **options)
    return path


def smooth(hw: tuple[int, int] = HW) -> np.ndarray:
    """Without any symmetry of its sides or its colors."""
    y, x = np.meshgrid(np.linspace(0, 1, hw[0]), np.linspace(0, 1, hw[1]), indexing="ij")
    return np.stack([30 + 200 * x, 40 + 150 * y, 210 - 160 * x * y], axis=2).round().astype(np.uint8)


def natural(hw: tuple[int, int]) -> np.ndarray:
    """Noise with as much in it of every size, as in photographs (amplitudes fall as 1/f)."""
    frequency = np.hypot(np.fft.fftfreq(hw[0])[:, None], np.fft.rfftfreq(hw[1])[None])
    spectrum = np.fft.rfft2(np.random.default_rng(0).normal(size=hw)) / np.maximum(frequency, 1 / max(hw))
    gray = np.fft.irfft2(spectrum, hw)
    gray = 128 + 45 * (gray - gray.mean()) / gray.std()
    return np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("min_hw", "by"),
    [(None, 1), ((602, 100), 1), ((601, 801), 1), ((601, 800), 2), ((300, 401), 2), ((300, 400), 4), ((150, 200), 8),
     ((1, 1), 8), ((9000, 9000), 1)],
)  # fmt: skip
@pytest.mark.parametrize("orientation", [1, 6])
def test_jpeg_is_decoded_at_the_smallest_sufficient_scale(tmp_path, min_hw, by, orientation):
    path = written(tmp_path / "x.jpg", np.zeros((*HW, 3), np.uint8), orientation)
    decoded = decode(path, min_hw)
    height, width = (-(-side // by) for side in HW)
    assert decoded.divisor == by and decoded.upright(decoded.rgb).shape == (height, width, 3)
    assert decoded.full_hw == (HW[::-1] if orientation == 6 else HW)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_other_formats_are_decoded_at_full_size(tmp_path, suffix):
    path = written(tmp_path / f"x{suffix}", smooth((90, 140)))
    assert decode(path, (9, 14)).divisor == 1


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("hw", "by"), [((298, 397), 2), ((149, 198), 4), ((74, 98), 8)])
def test_edge_has_the_same_position_after_reduced_decoding(tmp_path, hw, by, orientation):
    """Within a twentieth of a pixel, also at the far side, where the reduced image reaches out of the whole."""
    for top, left, bottom, right in ((100, 160, 400, 720), (700, 900, 1100, 1500)):
        upright = np.full((*HW, 3), 70, np.uint8)
        upright[top:bottom, left:right] = 190
        upright = cv2.GaussianBlur(upright, (0, 0), 12)  # a hard edge lies within a pixel of where it is drawn
        path = written(tmp_path / "x.jpg", upright, orientation)
        assert decode(path, (2 * hw[0], 2 * hw[1])).divisor == by
        image, full_hw = read_resized(path, hw)
        assert image.shape == (*hw, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        assert full_hw == HW
        for axis, (start, end) in enumerate(((top, bottom), (left, right))):
            profile = (image.mean(axis=2) - 70).sum(axis=1 - axis)
            scale = hw[axis] / HW[axis]
            middle = (profile * (np.arange(hw[axis]) + 0.5)).sum() / profile.sum()
            length = profile.sum() / np.median(profile[int(start * scale) : int(end * scale)])
            assert abs(middle - length / 2 - start * scale) < 0.05
            assert abs(middle + length / 2 - end * scale) < 0.05


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_reduced_image_is_upright_and_keeps_its_colors(tmp_path, mode, orientation):
    path = written(tmp_path / "x.jpg", smooth((301, 467)), orientation, mode)
    image, _ = read_resized(path, (77, 119))
    expected = cv2.resize(read_image(path), (119, 77), interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).max() <= 3


def test_reduced_decoding_keeps_nearly_all_fine_detail(tmp_path):
    """Evaluation does without, and a detector notices when it is shown softer images than it was trained on."""

    def detail(image: np.ndarray) -> float:
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    path = written(tmp_path / "x.jpg", natural((1200, 1600)))
    for hw in ((500, 667), (395, 527), (330, 440), (270, 360)):  # the last three are reduced to a half
        whole = cv2.resize(read_image(path), hw[::-1], interpolation=cv2.INTER_LINEAR)
        assert 0.85 < detail(read_resized(path, hw)[0]) / detail(whole) < 1.05


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_image_that_is_not_reduced_equals_the_full_image_resized(tmp_path, name, orientation):
    path = written(tmp_path / name, smooth((61, 90)), orientation)
    for hw in ((41, 61), (61, 90), (130, 171)):
        image, full_hw = read_resized(path, hw)
        np.testing.assert_array_equal(image, cv2.resize(read_image(path), hw[::-1], interpolation=cv2.INTER_LINEAR))
        assert full_hw == (61, 90)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_truncated_jpeg_is_an_error_at_every_scale(tmp_path, options):
    noise = np.random.default_rng(0).integers(0, 256, (160, 240, 3), dtype=np.uint8)
    path = written(tmp_path / "x.jpg", noise, **options)
    content = path.read_bytes()
    for kept in (len(content) // 3, len(content) // 2, len(content) - 100):
        path.write_bytes(content[:kept])
        for hw in ((100, 150), (53, 80), (26, 40), (13, 20)):
            with pytest.raises(MediaError, match=r"x\.jpg: damaged or truncated"):
                read_resized(path, hw)


def test_image_of_one_row_keeps_one_row(tmp_path):
    path = written(tmp_path / "x.jpg", smooth((3, 4000)))
    assert read_resized(path, (1, 99))[0].shape == (1, 99, 3)
    path = written(tmp_path / "x.jpg", smooth((60_000, 9)))
    assert read_resized(path, (799, 1))[0].shape == (799, 1, 3)
