"""Masks that are images: one object, or instances as different values or colors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError
from detect.media.images import MAX_PIXELS
from detect.structures import masks
from detect.structures.masks import Rle

MASK_FORMATS = ("PNG", "GIF", "BMP", "DIB", "TIFF", "PPM")
MAX_INSTANCES = 5000  # different values or colors of one mask; a photograph has more
_VOID = 255  # Pascal VOC's value of pixels around objects
_VOID_COLOR = 224 + 256 * 224 + 65536 * 192  # the same in color
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


@contextmanager
def opened_png(content: bytes) -> Iterator[Image.Image]:
    """Yield a PNG whose pixels are not decoded yet, so that its size can be checked before.

    Raises InvalidEntryError for other content, also for errors of decoding inside the block.
    """
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            yield image
    except InvalidEntryError:
        raise
    except UnidentifiedImageError:
        raise InvalidEntryError("invalid_mask", "the mask is not a PNG") from None
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise InvalidEntryError("invalid_mask", f"the mask is a damaged PNG: {error}") from None


def decode_png_mask(content: bytes) -> np.ndarray:
    """Return a mask, bool [h, w], from a PNG that is 0, or transparent if it has an alpha channel, outside of it.

    Raises InvalidEntryError for other content, and for more than MAX_PIXELS pixels, before they are decoded.
    """
    with opened_png(content) as image:
        if image.width * image.height > MAX_PIXELS:
            raise InvalidEntryError("invalid_mask", f"the mask has {image.width}x{image.height} pixels")
        pixels = np.asarray(image.getchannel("A") if image.mode in _WITH_ALPHA else image)
    return np.asarray(pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0)


def read_values(path: Path, *, gray_as_color: bool = False) -> np.ndarray:
    """Return the values of a mask image, int64 [H, W]: gray levels, palette indices, or R + 256 G + 65536 B of colors.

    gray_as_color: whether colors are encoded so even if the image has only grays.

    Transparent pixels are 0. Raises DataError for JPEG and other formats that change values, for damaged files, more
    than MAX_PIXELS pixels, several images in one file, and fractions.
    """
    try:
        with Image.open(path) as image:
            if image.format not in MASK_FORMATS:
                raise DataError(f"{path} is a {image.format}, which changes the values of pixels; save masks as PNG")
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path} has {image.width}x{image.height} pixels, too many")
            if getattr(image, "n_frames", 1) > 1:
                raise DataError(f"{path} holds {image.n_frames} images; save each as its own file, one per object")
            alpha = np.asarray(image.getchannel("A")) if image.mode in _WITH_ALPHA else None
            pixels = np.asarray(image)
    except DataError:
        raise
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise DataError(f"{path} cannot be read: {error}") from None
    values = _values(pixels, gray_as_color)
    if values is None:
        raise DataError(
            f"{path} has pixels of type {pixels.dtype}, shape {pixels.shape}; save masks as 8-bit or 16-bit PNG"
        )
    return values if alpha is None else np.where(alpha > 0, values, 0)


def _values(pixels: np.ndarray, gray_as_color: bool) -> np.ndarray | None:
    if pixels.dtype.kind == "f":
        whole = np.nan_to_num(pixels).astype(np.int64)
        return whole if pixels.ndim == 2 and np.array_equal(whole, pixels) else None
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    channels = pixels.astype(np.int64)
    if channels.shape[2] < 3:  # gray and alpha
        return channels[:, :, 0]
    red, green, blue = (channels[:, :, i] for i in range(3))
    is_gray = not gray_as_color and np.array_equal(red, green) and np.array_equal(red, blue)
    return red if is_gray else red + 256 * green + 65536 * blue


def foreground(values: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask of one object, bool [H, W]: gray levels of more than half the maximum, any color."""
    highest = int(values.max(initial=0))
    return values * 2 > highest if highest <= 65535 else values != 0


def instance_values(values: np.ndarray) -> np.ndarray:
    """Return the values of a mask of several objects that stand for an object, int64 [n], ascending.

    0 is background. The value 255 is not an object beside 1, 2, ..., nor is Pascal VOC's color of such pixels.
    """
    found = np.unique(values)
    found = found[(found != 0) & (found != _VOID_COLOR)]
    others = found[found != _VOID]
    if len(others) < len(found) and len(others) and np.array_equal(others, np.arange(1, len(others) + 1)):
        return others
    return found


def is_blurred(values: np.ndarray) -> bool:
    """Return whether a gray mask is one object in white with soft edges: white, and few pixels of other grays."""
    highest = int(values.max(initial=0))
    if highest not in (_VOID, 65535):
        return False
    grays = values[(values > 0) & (values < highest)]
    return len(np.unique(grays)) >= 3 and len(grays) < (values == highest).sum()


def rles_of_values(values: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[int, Rle]]:
    """Yield each of the ``wanted`` values, int64 [n], with the mask of its pixels, if it has pixels."""
    height, width = values.shape
    flat = values.ravel()
    positions = np.flatnonzero(np.isin(flat, wanted))
    positions = positions[np.argsort(flat[positions], kind="stable")]
    if not len(positions):
        return
    found, starts = np.unique(flat[positions], return_index=True)
    for value, pixels in zip(found.tolist(), np.split(positions, starts[1:]), strict=True):
        ys, xs = np.divmod(pixels, width)
        y, x = int(ys.min()), int(xs.min())
        crop = np.zeros((int(ys.max()) - y + 1, int(xs.max()) - x + 1), bool)
        crop[ys - y, xs - x] = True
        yield value, masks.from_crop(crop, (x, y), (height, width))
