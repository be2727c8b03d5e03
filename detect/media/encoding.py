"""The bytes of an image's file, in memory."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from detect.errors import MediaError

JPEG_QUALITY = 92
JPEG_MOST_SIDE = 65_500  # libjpeg goes no further


class Encoded:
    """An image's file that lies in memory, for whoever must not write it down: as much of a path as is needed here.

    content: the bytes of the file.  name: for messages.
    """

    suffix = ""  # a name that a stranger gives says nothing

    def __init__(self, content: bytes, name: str = "the image") -> None:
        self.content = content
        self.name = name

    def __str__(self) -> str:
        return self.name

    def open(self, _mode: str = "rb") -> BytesIO:
        """A file of its own."""
        return BytesIO(self.content)


def encode(pixels: np.ndarray, kind: str) -> bytes:
    """The file of an image in a format that Pillow calls ``kind``: of uint8 RGB [H, W, 3] or, where the format has
    them, gray of 1, 8 or 16 bits, bool, uint8 or uint16 [H, W]. MediaError where it is too large for the format."""
    height, width = pixels.shape[:2]
    if kind == "JPEG" and max(height, width) > JPEG_MOST_SIDE:
        raise MediaError(f"{width}x{height} pixels, and a JPEG has at most {JPEG_MOST_SIDE:,} a side")
    content = BytesIO()
    try:
        Image.fromarray(pixels).save(content, kind, quality=JPEG_QUALITY)
    except (OSError, ValueError) as error:
        raise MediaError(str(error)) from None
    return content.getvalue()
