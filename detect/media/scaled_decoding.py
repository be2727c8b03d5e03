"""Reading of images that are needed at a reduced size only, with less decoding."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from detect.media.images import Decoded, OnTruncated, decode

# A JPEG is decoded to at least this many times the wanted size. With a smaller factor the result is softer than the
# full image resized, which costs a detector accuracy (docs/data.md), and saves hardly more time.
_MARGIN = 2.0


def read_resized(
    path: Path, hw: tuple[int, int], on_truncated: OnTruncated | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image resized to ``hw``, uint8 RGB [*hw, 3], and its original (height, width), both upright.

    A JPEG that is much larger is decoded at a half, a quarter or an eighth of its size, which saves about half of the
    decoding time of large photographs. Pixels keep their positions to a fraction of a pixel. Memory (besides the
    result), ``on_truncated`` and errors are those of ``read_image``.
    """
    decoded = decode_for(path, hw, on_truncated)
    if decoded.divisor == 1:
        full = decoded.upright(decoded.rgb)
        return resize(full, hw), full.shape[:2]
    resized = _resized(decoded, hw[::-1] if decoded.is_sideways else hw)
    return decoded.upright(resized), decoded.full_hw[::-1] if decoded.is_sideways else decoded.full_hw


def resize(image: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Return an image uint8 [H, W, 3] resized to ``hw`` by bilinear interpolation."""
    return cv2.resize(image, hw[::-1], interpolation=cv2.INTER_LINEAR)


def decode_for(path: Path, hw: tuple[int, int], on_truncated: OnTruncated | None = None) -> Decoded:
    """Return the pixels of an image, decoded at the smallest size that ``read_resized`` needs for ``hw``."""
    height, width = hw
    return decode(path, (math.ceil(_MARGIN * height), math.ceil(_MARGIN * width)), on_truncated)


def _resized(decoded: Decoded, hw: tuple[int, int]) -> np.ndarray:
    """Return the stored pixels of a reduced image, resized to ``hw`` as if they had full size.

    cv2.resize would include the part of the last row and column that lies beyond the image, and move the far edge by
    up to a pixel. Interpolation is cubic: bilinear interpolation after the smoothing of the smaller DCT keeps less
    fine detail than it keeps of the full image.
    """
    y, x = (decoded.divisor * new / full for new, full in zip(hw, decoded.full_hw, strict=True))
    # Maps pixel centers to pixel centers, which lie half a pixel from the corner.
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
    return cv2.warpAffine(decoded.rgb, matrix, hw[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
