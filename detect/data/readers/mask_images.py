"""Masks that are stored as PNG, as bytes in an annotation file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from detect.data.unvalidated_split import InvalidEntryError
from detect.media.images import MAX_PIXELS

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def decode_png_mask(content: bytes) -> np.ndarray:
    """Return a mask, bool [h, w], from a PNG that is 0, or transparent if it has an alpha channel, outside of it.

    Raises InvalidEntryError for other content, and for more than MAX_PIXELS pixels, before they are decoded.
    """
    try:
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InvalidEntryError("invalid_mask", f"the mask has {image.width}x{image.height} pixels")
            pixels = np.asarray(image.getchannel("A") if image.mode in _WITH_ALPHA else image)
    except InvalidEntryError:
        raise
    except UnidentifiedImageError:
        raise InvalidEntryError("invalid_mask", "the mask is not a PNG") from None
    except Exception as error:  # Pillow raises many types of errors for damaged files
        raise InvalidEntryError("invalid_mask", f"the mask is a damaged PNG: {error}") from None
    return np.asarray(pixels.any(axis=2) if pixels.ndim == 3 else pixels != 0)
