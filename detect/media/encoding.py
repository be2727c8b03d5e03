"""Encoded images in memory."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from detect.errors import MediaError
from detect.media.orientation import exif_of, stored

JPEG_QUALITY = 92
JPEG_MAX_SIDE = 65_500  # pixels, the limit of libjpeg


class EncodedImage:
    """An image file in memory. It has the parts of a path that readers need, so that nothing is written to the disk.

    content: bytes of the file.  name: for messages.
    """

    suffix = ""  # the name comes from an unknown sender, so its suffix says nothing

    def __init__(self, content: bytes, name: str = "the image") -> None:
        self.content = content
        self.name = name

    def __str__(self) -> str:
        return self.name

    def open(self, _mode: str = "rb") -> BytesIO:
        """Return a new file object at the beginning of the content."""
        return BytesIO(self.content)


def encode(pixels: np.ndarray, kind: str, orientation: int | None = None) -> bytes:
    """Return the file content of an image.

    pixels: uint8 RGB [H, W, 3], or gray bool, uint8 or uint16 [H, W] where the format supports it.
    kind: Pillow's name of the format, such as ``JPEG``.
    orientation: EXIF orientation 1..8 that the file states; it stores the pixels so that they are shown as given. By
        default the file has no EXIF data.
    Raises MediaError for an image that is too large for the format.
    """
    height, width = pixels.shape[:2]
    if kind == "JPEG" and max(height, width) > JPEG_MAX_SIDE:
        raise MediaError(f"{width}x{height} pixels, but a side of a JPEG has at most {JPEG_MAX_SIDE:,}")
    content = BytesIO()
    exif = {}
    if orientation is not None:
        pixels, exif = np.ascontiguousarray(stored(pixels, orientation)), {"exif": exif_of(orientation)}
    try:
        Image.fromarray(pixels).save(content, kind, quality=JPEG_QUALITY, **exif)
    except (OSError, ValueError) as error:
        raise MediaError(str(error)) from None
    return content.getvalue()
