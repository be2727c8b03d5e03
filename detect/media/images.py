"""Reading and writing images: with its neighbours, the only place that knows EXIF, color modes and file formats.

Everywhere else an image is uint8 RGB [H, W, 3], upright.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from detect.errors import MediaError
from detect.io.files import write_bytes
from detect.media import color, formats
from detect.media.encoding import Encoded, encode
from detect.media.image_paths import shown

MAX_PIXELS = 178_956_970  # Pillow's own guard: half a GiB as RGB
MAX_BYTES = 2 * 2**30  # of a file: more than MAX_PIXELS of four 16-bit samples; some decoders read all of it at once

_ORIENTATION_TAG = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_REDUCIBLE = ("JPEG", "MPO")

ImageFile.LOAD_TRUNCATED_IMAGES = False  # a half image must be an error, not a gray half
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow warns there and refuses twice as much
PngImagePlugin.MAX_TEXT_CHUNK = 2**23  # unpacked; Pillow's 1 MiB is less than the color profile of many a printer
# Odd metadata is not the user's to mend. Once and for all, since catch_warnings is not safe among threads.
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else errors that it logs and then raises reach stderr
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_image(path: Path | Encoded) -> np.ndarray:
    """The image at ``path``, uint8 RGB [H, W, 3], turned as its EXIF orientation says.

    The file's content counts, not its suffix. Of an animation or of several pages the first is taken, and how other
    colors and depths become 8-bit RGB stands in media/color.py. While it reads it takes 8 bytes a pixel, 12 for
    progressive JPEG and AVIF, 20 for WebP and JPEG 2000: 3.3 GiB for the largest image. Raises MediaError for a file
    that is missing, no image, truncated, of more than MAX_PIXELS or of pixels without a known black and white.
    """
    decoded = decode(path)  # by now what Pillow held of it is free again
    return decoded.upright(decoded.rgb)


@dataclass(frozen=True)
class Decoded:
    """An image as it lies in its file, all its pixels or fewer.

    rgb: uint8 [h, w, 3].  orientation: 1..8 as in EXIF.  whole_hw: (height, width) of all its pixels.
    by: how many of these, in each direction, one of ``rgb`` stands for; h and w are rounded up, so that the last row
        and column may reach out of the image.
    """

    rgb: np.ndarray
    orientation: int
    whole_hw: tuple[int, int]
    by: int

    @property
    def turned(self) -> bool:
        """Whether height and width in the file are the other way round."""
        return self.orientation in _TURNED

    def upright(self, rgb: np.ndarray) -> np.ndarray:
        """``rgb`` [h, w, 3], which lies as this image does in its file, turned as the orientation says."""
        return np.ascontiguousarray(upright(rgb, self.orientation))


def decode(path: Path | Encoded, at_least_hw: tuple[int, int] | None = None) -> Decoded:
    """The image at ``path``; of a JPEG no more pixels than are needed for ``at_least_hw`` where it stands upright.

    A JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 of its sides that leaves so many. Memory and errors are
    those of ``read_image``.
    """
    with _opened(path) as image:
        png_bits = _png_bits(path) if image.format == "PNG" else 8
        whole_hw = image.height, image.width  # of a JPEG; an icon's may change as it loads
        by = _reduce(image, at_least_hw) if at_least_hw and image.format in _REDUCIBLE else 1
        with _told(path), _libtiff_silenced(image):
            image.load()
        orientation = _orientation(image)  # only now, since a PNG may hold it behind its pixels
        try:
            rgb = color.to_rgb(image, png_bits)
        except MediaError as error:
            raise MediaError(f"cannot read {shown(path)}: {error}") from None
        return Decoded(rgb, orientation, whole_hw if by > 1 else rgb.shape[:2], by)


@dataclass(frozen=True)
class Header:
    """What an image's file says of it before its pixels.

    image_hw: (height, width) as ``read_image`` gives it, upright.  orientation: 1..8 as in EXIF.
    form: Pillow's name of the format.  mode: Pillow's, "RGB", "L", ...  bits: of each color, 8 or 16.
    """

    image_hw: tuple[int, int]
    orientation: int
    form: str
    mode: str
    bits: int

    @property
    def turned(self) -> bool:
        """Whether height and width in the file are the other way round."""
        return self.orientation in _TURNED


def image_hw(path: Path) -> tuple[int, int]:
    """(height, width) as ``read_image`` would give it; raises like ``read_header``."""
    return read_header(path).image_hw


def read_header(path: Path | Encoded, most_pixels: int | None = None) -> Header:
    """From the header alone, where the format allows. Raises MediaError like ``read_image``, except for what shows
    only in the pixels.

    most_pixels: of an image that has more nothing is unpacked, and only its size is right, if not turned. Icons,
        which Pillow unpacks to open them, are then no images.
    """
    with _opened(path, without=("ICO",) if most_pixels is not None else ()) as image:
        with _told(path):
            # An icon's list of sizes may be wrong, and a PNG may hold its orientation behind its pixels.
            width, height = image.size
            if most_pixels is not None and width * height > most_pixels:
                return Header((height, width), 1, image.format or "", image.mode, 8)
            if image.format == "ICO" or (image.format == "PNG" and _text_behind_pixels(path)):
                image.load()
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # some versions of Pillow have its sides swapped already
            width, height = image.tag_v2[_TIFF_WIDTH], image.tag_v2[_TIFF_HEIGHT]
        orientation = _orientation(image)
        hw = (width, height) if orientation in _TURNED else (height, width)
        deep = image.mode[:1] in "IF" or (image.format == "PNG" and _png_bits(path) == 16)
        return Header(hw, orientation, image.format or "", image.mode, 16 if deep else 8)


def write_image(path: Path, rgb: np.ndarray) -> None:
    """Write uint8 RGB [H, W, 3] in the format of ``path``'s suffix; a reader never sees half a file.

    Raises MediaError for an unknown suffix and for an image too large for the format, DiskError for a folder that
    cannot be written and for a full disk.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:
        raise MediaError(f"cannot write {shown(path)}: no image format has the suffix '{path.suffix}'")
    try:
        content = encode(rgb, kind)  # not into the file itself, since Pillow forgets why it could not be written
    except MediaError as error:
        raise MediaError(f"cannot write {shown(path)}: {error}") from None
    write_bytes(path, content)


@contextmanager
def _opened(path: Path | Encoded, without: Sequence[str] = ()) -> Iterator[Image.Image]:
    """The image with its header read; MediaError where that shows already that it cannot be read."""
    with _told(path):
        _check_file(path)
        file = path.open() if isinstance(path, Encoded) else path  # which Pillow closes where it has opened it
        image = Image.open(file, formats=[form for form in formats.readable_formats() if form not in without])
    with image:
        if 0 in image.size:
            raise MediaError(f"cannot read {shown(path)}: it has no pixels ({image.width}x{image.height})")
        try:
            color.check(image)
        except MediaError as error:
            raise MediaError(f"cannot read {shown(path)}: {error}") from None
        yield image


@contextmanager
def _told(path: Path | Encoded) -> Iterator[None]:
    """Whatever Pillow makes of a bad file becomes one MediaError."""
    try:
        yield
    except MediaError:
        raise
    except Image.DecompressionBombError:
        raise MediaError(
            f"{shown(path)} claims more than {MAX_PIXELS:,} pixels, the most that is read; make it smaller first"
        ) from None
    except UnidentifiedImageError:
        held = formats.what_it_holds(path)
        raise MediaError(f"{shown(path)} is not an image that can be read{held and f' (it is {held})'}") from None
    except FileNotFoundError:
        if isinstance(path, Path) and path.is_symlink():
            raise MediaError(f"{shown(path)} is a link to a file that is not there") from None
        raise MediaError(f"no such file: {shown(path)}") from None
    except IsADirectoryError:
        raise MediaError(f"{shown(path)} is a folder, not an image") from None
    except MemoryError:
        raise MediaError(f"cannot read {shown(path)}: not enough memory") from None
    except OSError as error:
        reason = error.strerror or f"damaged or truncated image ({error})"
        raise MediaError(f"cannot read {shown(path)}: {reason}") from None
    except Exception as error:  # its decoders let through whatever a damaged file makes them stumble over
        raise MediaError(f"cannot read {shown(path)}: damaged or truncated image ({error})") from None


def _check_file(path: Path | Encoded) -> None:
    """MediaError or OSError for what is no file to read from: a pipe would be waited for, a device has no end."""
    size = len(path.content) if isinstance(path, Encoded) else _size_of_file(path)
    if size == 0:
        raise MediaError(f"{shown(path)} is empty")
    if size > MAX_BYTES:
        raise MediaError(f"{shown(path)} has {size:,} bytes, more than the {MAX_BYTES:,} that are read")
    if path.suffix.lower() in formats.RAW_SUFFIXES:  # many open as a TIFF with a tiny preview
        raise MediaError(f"{shown(path)} is camera raw, which is not read; save it as JPEG or PNG")


def _size_of_file(path: Path) -> int:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{shown(path)} is a pipe or a device, not a file")
    return status.st_size


def _orientation(image: Image.Image) -> int:
    """1..8 as in EXIF; 1, as it lies, where there is none or none that makes sense."""
    try:
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG)  # a PNG's own method would decode all pixels
    except Exception:  # damaged EXIF fails in as many ways as there are bytes, and costs but the orientation
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """``pixels`` [h, w, ...] as they lie in a file, turned as its EXIF ``orientation`` (1..8) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _reduce(image: Image.Image, at_least_hw: tuple[int, int]) -> int:
    """Have a JPEG that is not loaded yet decoded at 1/1 to 1/8 of its sides, by libjpeg's smaller DCTs; the divisor.

    The file is read and checked to its end all the same, and its colors are not touched.
    """
    height, width = at_least_hw[::-1] if _orientation(image) in _TURNED else at_least_hw
    whole_width = image.width
    drafted = image.draft(None, (width, height))
    return round(whole_width / drafted[1][2]) if drafted else 1


def _png_bits(path: Path | Encoded) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]


def _text_behind_pixels(path: Path | Encoded) -> bool:
    """Whether a PNG has EXIF or text, where XMP and older EXIF are, after its pixels."""
    pixels = False
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if pixels and kind in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            pixels = pixels or kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)
    return False


_stderr_lock = threading.Lock()


@contextmanager
def _libtiff_silenced(image: Image.Image) -> Iterator[None]:
    """libtiff writes its complaints straight to the process's stderr, besides the error that Pillow raises."""
    # Without stderr nothing can be heard, and its number may be that of another file: the image.
    if image.format != "TIFF" or sys.__stderr__ is None or sys.__stderr__.closed:
        yield
        return
    with _stderr_lock, Path(os.devnull).open("wb") as nothing:
        kept = os.dup(2)
        try:
            os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
