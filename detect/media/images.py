"""Reading and writing of image files.

Outside of this package an image is uint8 RGB [H, W, 3] with its EXIF orientation applied. Only this package knows
EXIF, color modes and file formats. No state of Pillow or of the process is changed.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from detect.errors import MediaError
from detect.io.files import write_bytes
from detect.media import color, formats, png_chunks, truncated_jpeg
from detect.media.encoding import EncodedImage, encode
from detect.media.image_paths import shown
from detect.media.orientation import SIDEWAYS, orientation_of, upright
from detect.media.quiet import libtiff_silenced

MAX_PIXELS = 178_956_970  # half a GiB as RGB; Pillow's own limit, unless the user has changed that
MAX_BYTES = 2 * 2**30  # of a file: more than MAX_PIXELS of four 16-bit samples; some decoders read all of it at once

_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_REDUCIBLE = ("JPEG", "MPO")


OnTruncated = Callable[[], object]
"""Function that is called when an image is truncated and the part that is there is used."""


class _DamagedError(MediaError):
    """A file whose pixels cannot be decoded completely."""


def read_image(path: Path | EncodedImage, on_truncated: OnTruncated | None = None) -> np.ndarray:
    """Return an image as uint8 RGB [H, W, 3], rotated as its EXIF orientation says.

    The content of the file decides its format, not its suffix. Of an animation or a file with several pages, the first
    image is read. media/color.py describes how other colors and depths become 8-bit RGB. Reading takes 8 bytes of
    memory per pixel, 12 for progressive JPEG and AVIF, 20 for WebP and JPEG 2000: 3.3 GiB for the largest image.

    on_truncated: called for a JPEG whose end is missing, if at least three quarters of its rows can be decoded; the
        others become gray. Without this function such a file is an error.
    Raises MediaError for a file that is missing, truncated or not an image, for an image of more than MAX_PIXELS
    pixels, and for pixels without a defined black and white.
    """
    decoded = decode(path, on_truncated=on_truncated)  # Pillow's copy of the pixels is freed before they are rotated
    return decoded.upright(decoded.rgb)


@dataclass(frozen=True)
class Decoded:
    """Pixels of an image as they are stored in its file, possibly at a reduced size.

    rgb: uint8 [h, w, 3].
    orientation: 1..8 as in EXIF.
    full_hw: (height, width) of the image at full size, as stored.
    divisor: full size / size of ``rgb``: 1, 2, 4 or 8. h and w are rounded up, so the last row and column of ``rgb``
        may extend beyond the image.
    bits: bits per sample in the file, 8 or 16.
    """

    rgb: np.ndarray
    orientation: int
    full_hw: tuple[int, int]
    divisor: int
    bits: int = 8

    @property
    def has_few_gray_levels(self) -> bool:
        """Whether the image has 16 bits and uses so few levels of 8 bits that much of it is lost."""
        return self.bits == 16 and color.num_gray_levels(self.rgb) < color.FEW_GRAY_LEVELS

    @property
    def is_sideways(self) -> bool:
        """Whether the orientation swaps height and width."""
        return self.orientation in SIDEWAYS

    def upright(self, rgb: np.ndarray) -> np.ndarray:
        """Return ``rgb`` [h, w, 3], stored like this image, rotated as the orientation says."""
        return np.ascontiguousarray(upright(rgb, self.orientation))


def decode(
    path: Path | EncodedImage,
    min_hw: tuple[int, int] | None = None,
    on_truncated: OnTruncated | None = None,
    gray_range: color.GrayRange | None = None,
) -> Decoded:
    """Return the pixels of an image as stored; a JPEG may be decoded at a reduced size.

    min_hw: (height, width) of the upright image that suffices. A JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and
        1/8 of its size that is not smaller than this. None decodes at full size.
    gray_range: 16-bit gray values that become black and white; by default 0 and 65535.
    ``on_truncated``, memory and errors are those of ``read_image``.
    """
    try:
        return _decode(path, min_hw, gray_range)
    except _DamagedError as error:
        if on_truncated is None or (completed := truncated_jpeg.with_end_marker(path)) is None:
            raise
        problem = error
    try:
        decoded = _decode(completed, min_hw)
    except MediaError:
        raise problem from None
    if truncated_jpeg.missing_fraction(decoded.rgb) > truncated_jpeg.MAX_MISSING:
        raise problem
    on_truncated()
    return decoded


def gray_histogram(path: Path) -> np.ndarray | None:
    """Return how often each value is in a 16-bit gray image, int64 [65536]; None for other and unreadable images."""
    try:
        with _opened(path) as image:
            if not image.mode.startswith("I"):
                return None
            _load(image, path)
            return color.gray_histogram(image)
    except MediaError:
        return None


def _decode(
    path: Path | EncodedImage, min_hw: tuple[int, int] | None, gray_range: color.GrayRange | None = None
) -> Decoded:
    with _opened(path) as image:
        png_bits = _png_bits(image, path)
        full_hw = image.height, image.width  # of a JPEG; the size of an icon may change when it is loaded
        divisor = _reduce(image, min_hw) if min_hw and image.format in _REDUCIBLE else 1
        _load(image, path)
        bits = 16 if _is_deep(image, png_bits) else 8
        rgb = color.to_rgb(image, png_bits, gray_range)
        # The orientation is read after loading, since a PNG may store it behind its pixels.
        return Decoded(rgb, orientation_of(image), full_hw if divisor > 1 else rgb.shape[:2], divisor, bits)


@dataclass(frozen=True)
class Header:
    """Properties of an image that its file states before the pixels.

    image_hw: (height, width) of the upright image, as ``read_image`` returns it.
    orientation: 1..8 as in EXIF.
    form: Pillow's name of the format, such as ``JPEG``.
    mode: Pillow's mode, such as ``RGB`` or ``L``.
    bits: bits per sample, 8 or 16.
    """

    image_hw: tuple[int, int]
    orientation: int
    form: str
    mode: str
    bits: int

    @property
    def is_sideways(self) -> bool:
        """Whether the orientation swaps height and width."""
        return self.orientation in SIDEWAYS


def image_hw(path: Path) -> tuple[int, int]:
    """Return (height, width) of the upright image. Raises MediaError like ``read_header``."""
    return read_header(path).image_hw


def read_header(path: Path | EncodedImage, max_pixels: int | None = None) -> Header:
    """Return the properties of an image without decoding its pixels, where the format allows.

    max_pixels: an image with more pixels is not decoded in any case; only the size in its header is then valid, and
        the orientation is not applied. Icons, which Pillow decodes when it opens them, are refused if this is given.
    Raises MediaError like ``read_image``, except for errors that show only in the pixels.
    """
    with _opened(path, without=("ICO",) if max_pixels is not None else ()) as image:
        width, height = image.size
        if max_pixels is not None and width * height > max_pixels:
            return Header((height, width), 1, image.format or "", image.mode, 8)
        # The list of sizes in an icon may be wrong, and a PNG may store its orientation behind its pixels.
        if image.format == "ICO" or (image.format == "PNG" and png_chunks.has_metadata_behind_pixels(path)):
            _load(image, path)
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # some versions of Pillow have swapped the sides already
            width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
        orientation = orientation_of(image)
        hw = (width, height) if orientation in SIDEWAYS else (height, width)
        png_bits = _png_bits(image, path)
        return Header(hw, orientation, image.format or "", image.mode, 16 if _is_deep(image, png_bits) else 8)


def _png_bits(image: Image.Image, path: Path | EncodedImage) -> int:
    """Return the bits per sample in the header of a PNG, 8 for other formats."""
    return png_chunks.bits_per_sample(path) if image.format == "PNG" else 8


def _is_deep(image: Image.Image, png_bits: int) -> bool:
    """Return whether the samples of an image have more than 8 bits."""
    return image.mode[:1] in "IF" or png_bits == 16


def write_image(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 RGB [H, W, 3] in the format of the suffix of ``path``, completely or not at all.

    Raises MediaError for an unknown suffix and for an image that is too large for the format, and DiskError for a
    folder that is not writable and for a full disk.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise MediaError(f"cannot write {shown(path)}: no image format has the suffix '{path.suffix}'")
    try:
        content = encode(rgb, kind)  # in memory, since Pillow loses the reason of a failed write
    except MediaError as error:
        raise MediaError(f"cannot write {shown(path)}: {error}") from None
    write_bytes(path, content)


@contextmanager
def _opened(path: Path | EncodedImage, without: Sequence[str] = ()) -> Iterator[Image.Image]:
    """Open an image and read its header. Raises MediaError when it cannot be read.

    A ColorError that is raised in the block becomes a MediaError that names the file.

    without: Pillow's names of formats that are refused.
    """
    with _as_media_errors(path):
        _check_file(path)
        names = [form for form in formats.readable_formats() if form not in without]
        try:
            image = Image.open(path.open() if isinstance(path, EncodedImage) else path, formats=names)
        except ValueError as error:
            if "MAX_TEXT_CHUNK" not in str(error):
                raise
            # Pillow refuses color profiles of more than 1 MiB, which printers have. The profile is not used here.
            image = Image.open(EncodedImage(png_chunks.without_color_profile(path)).open(), formats=names)
    with image:
        if 0 in image.size:
            raise MediaError(f"cannot read {shown(path)}: it has no pixels ({image.width}x{image.height})")
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{image.width * image.height} pixels")
        try:
            color.check(image)
            yield image
        except color.ColorError as error:
            raise _media_error(path, error) from None


def _load(image: Image.Image, path: Path | EncodedImage) -> None:
    """Decode the pixels of an opened image. Raises MediaError."""
    with _as_media_errors(path), libtiff_silenced() if image.format == "TIFF" else nullcontext():
        image.load()


@contextmanager
def _as_media_errors(path: Path | EncodedImage) -> Iterator[None]:
    """Turn any exception of the block into a MediaError that names the file. The block must only call Pillow."""
    try:
        yield
    except Exception as error:  # Pillow's decoders raise many types of exceptions for damaged files
        raise _media_error(path, error) from None


def _media_error(path: Path | EncodedImage, error: Exception) -> MediaError:
    """Return the MediaError that names the file and says what an exception means."""
    name = shown(path)
    if isinstance(error, MediaError) and not isinstance(error, color.ColorError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        size = re.search(r"(\d+) pixels", str(error))
        held = f"{int(size[1]):,}" if size else "too many"
        return MediaError(f"{name} has {held} pixels, more than the limit of {MAX_PIXELS:,}; make it smaller first")
    if isinstance(error, UnidentifiedImageError):
        held = formats.content_in_words(path)
        return MediaError(f"{name} is not an image that can be read{held and f' (it is {held})'}")
    if isinstance(error, FileNotFoundError):
        is_link = isinstance(path, Path) and path.is_symlink()
        return MediaError(f"{name} is a link to a missing file" if is_link else f"no such file: {name}")
    if isinstance(error, IsADirectoryError):
        return MediaError(f"{name} is a folder, not an image")
    if isinstance(error, MemoryError):
        reason = "not enough memory"
    elif isinstance(error, color.ColorError):
        reason = str(error)
    else:
        reason = getattr(error, "strerror", None) or ""
        if not reason:
            return _DamagedError(f"cannot read {name}: damaged or truncated image ({error})")
    return MediaError(f"cannot read {name}: {reason}")


def _check_file(path: Path | EncodedImage) -> None:
    """Raise MediaError or OSError for pipes and devices, which never end, and for empty or too large files."""
    size = len(path.content) if isinstance(path, EncodedImage) else _file_size(path)
    if size == 0:
        raise MediaError(f"{shown(path)} is empty")
    if size > MAX_BYTES:
        raise MediaError(f"{shown(path)} has {size:,} bytes, more than the limit of {MAX_BYTES:,}")
    if path.suffix.lower() in formats.RAW_SUFFIXES:  # many open as a TIFF with a tiny preview
        raise MediaError(f"{shown(path)} is camera raw, which is not supported; save it as JPEG or PNG")


def _file_size(path: Path) -> int:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{shown(path)} is a pipe or a device, not a file")
    return status.st_size


def _reduce(image: Image.Image, min_hw: tuple[int, int]) -> int:
    """Let libjpeg decode a JPEG at 1/1 to 1/8 of its size, with smaller DCTs; return the divisor.

    The file is still read and checked to its end, and its colors are unchanged.
    """
    height, width = min_hw[::-1] if orientation_of(image) in SIDEWAYS else min_hw
    full_width = image.width
    drafted = image.draft(None, (width, height))
    return round(full_width / drafted[1][2]) if drafted else 1
