"""Conversion of all colors and depths to 8-bit RGB.

Where file formats leave a choice:

* 16-bit samples are scaled by the range of their type, and not by the brightest pixel, which would make equal objects
  look different in different images. 12-bit samples are scaled by 4095 if the file states 12 bits; 12-bit values
  stored as 16 bits without that statement stay as dark as they are stored, unless the caller gives their range.
* Floating-point samples are read if all lie in 0..1. Other ranges have no defined white.
* Signed and 32-bit integers (heights, label maps) have no defined white and are refused.
* Transparent pixels are blended with white.
* Color profiles and PNG's gamma are ignored, as in the usual training images of detectors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from detect.errors import MediaError, UsageError

FEW_GRAY_LEVELS = 64
"""A 16-bit image that uses fewer of the 256 levels of 8 bits than this loses much: 12-bit values use 16, 14-bit 64."""

GrayRange = tuple[int, int]
"""The 16-bit gray values that become black (0) and white (255), such as (0, 4095); values outside are clipped."""

_STRIP_PIXELS = 2**20  # converted in one piece, so that intermediate results need little memory

# TIFF tags, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
_NEW_SUBFILE_TYPE, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 254, 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2


class ColorError(MediaError):
    """Raised for pixels without a defined color; the message does not name the image."""


def check(image: Image.Image) -> None:
    """Raise ColorError for pixels without a defined color. Reads the header only."""
    if image.format != "TIFF":
        return
    if _tag(image, _NEW_SUBFILE_TYPE) & 1:
        raise ColorError("its first page is only a small preview, as in camera raw; save the image as JPEG or PNG")
    if image.mode == "I" or _tag(image, _SAMPLE_FORMAT) == _SIGNED:
        raise ColorError("signed or 32-bit integer pixels have no defined black and white; save it with 8 or 16 bits")


def to_rgb(image: Image.Image, png_bits: int = 8, gray_range: GrayRange | None = None) -> np.ndarray:
    """Return the loaded ``image`` as uint8 RGB [H, W, 3].

    png_bits: bits per sample in the header of a PNG.
    gray_range: range of 16-bit gray values; by default 0..65535. Other images ignore it.
    Raises ColorError for floating-point pixels outside of 0..1.
    """
    width, height = image.size
    _fix_transparency(image, png_bits)
    convert = _conversion(image, gray_range)
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        rgb[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return rgb


def gray_histogram(image: Image.Image) -> np.ndarray | None:
    """Return how often each value 0..65535 is in a loaded 16-bit gray image, int64 [65536]; None for others."""
    if not image.mode.startswith("I") or _white(image) != 65535:
        return None
    values = np.asarray(image)
    rows = max(1, _STRIP_PIXELS // image.width)
    strips = (values[top : top + rows] for top in range(0, image.height, rows))
    return sum((np.bincount(strip.clip(0, 65535).ravel(), minlength=65536) for strip in strips), np.zeros(65536, int))


def num_gray_levels(rgb: np.ndarray) -> int:
    """Return the number of levels, 1..256, between the darkest and the brightest 0.5 % of the samples of an image."""
    step = max(1, int((rgb.size / (3 * _STRIP_PIXELS)) ** 0.5))  # a sample of a large image suffices
    low, high = range_of_histogram(np.bincount(rgb[::step, ::step].ravel(), minlength=256))
    return high - low + 1


def range_of_histogram(counts: np.ndarray, outside: float = 0.005) -> GrayRange:
    """Return the values below and above which the fraction ``outside`` of the samples lies.

    counts: int64 [N], number of samples of each value.
    """
    cumulative = np.cumsum(counts)
    low, high = np.searchsorted(cumulative, [outside * cumulative[-1], (1 - outside) * cumulative[-1]])
    return int(low), int(high)


def _conversion(image: Image.Image, gray_range: GrayRange | None) -> Callable[[Image.Image], np.ndarray]:
    """Return the function that converts a strip of ``image`` to RGB [h, w, 3] or gray [h, w, 1]."""
    if image.mode.startswith("I"):
        return _deep_gray(image, gray_range)
    if image.mode == "F":
        return _floating_gray(image)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
        return lambda strip: np.asarray(ImageCms.applyTransform(strip, transform))
    if image.has_transparency_data:
        return _on_white
    if image.mode == "RGB":  # avoids a copy in the usual case
        return np.asarray
    return lambda strip: np.asarray(strip.convert("RGB"))


def _white(image: Image.Image) -> int:
    return 4095 if _tag(image, _BITS_PER_SAMPLE) == 12 else 65535


def _deep_gray(image: Image.Image, gray_range: GrayRange | None) -> Callable[[Image.Image], np.ndarray]:
    """Return the conversion of gray with up to 16 bits; Pillow's own would clip at 255 instead of scaling."""
    white = _white(image)
    black, white = gray_range if gray_range and white == 65535 else (0, white)
    gray = ((np.arange(65536) - black) * (255 / (white - black))).round().clip(0, 255).astype(np.uint8)
    if image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:  # Pillow inverts 8 bits only
        gray = 255 - gray
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        gray[clear] = 255
    return lambda strip: gray[np.asarray(strip).clip(0, 65535)][..., None]


def _floating_gray(image: Image.Image) -> Callable[[Image.Image], np.ndarray]:
    inverted = image.format == "TIFF" and _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO

    def convert(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        if not np.isfinite(values).all():
            raise ColorError("some of its floating-point pixels are infinite or not a number")
        if values.min() < 0 or values.max() > 1:
            odd = values.min() if values.min() < 0 else values.max()
            raise ColorError(f"floating-point pixels must lie in 0..1, black to white, but one is {odd:g}; scale them")
        gray = (values * 255).round().astype(np.uint8)
        return (255 - gray if inverted else gray)[..., None]

    return convert


def _on_white(strip: Image.Image) -> np.ndarray:
    if strip.mode == "La":  # Pillow has no direct conversion
        strip = strip.convert("LA")
    rgba = strip.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))


def _fix_transparency(image: Image.Image, png_bits: int) -> None:
    """Scale the transparent color of a PNG to 8 bits; Pillow leaves it at the bit depth of the file."""
    clear = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(clear, int) and clear < 2**png_bits < 256:
        image.info["transparency"] = clear * 255 // (2**png_bits - 1)
    elif image.mode == "RGB" and isinstance(clear, tuple) and png_bits == 16:
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _tag(image: Image.Image, tag: int, missing: int = 0) -> int:
    """Return a TIFF tag as an integer: the first value if it has one per sample, ``missing`` if there is none."""
    value = getattr(image, "tag_v2", {}).get(tag, missing)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else missing


def check_rgb_array(image: np.ndarray) -> None:
    """Raise UsageError unless ``image`` is uint8 [H, W, 3] with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        hint = "; convert floating point in 0..1 with (image * 255).round().astype('uint8')"
        raise UsageError(
            f"an image array must be uint8 RGB [H, W, 3], not {image.dtype} {list(image.shape)}"
            f"{hint if image.dtype.kind == 'f' and image.ndim == 3 else ''}"
        )
