"""Images read no larger than they are needed."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from detect.media.images import Decoded, decode

# A reduced image is at least so many times as large as what is made of it. With less it comes out softer than the
# whole image resized, which a detector notices (docs/data.md) and which spares hardly more.
_MARGIN = 2.0


def read_resized(path: Path, hw: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """The image at ``path`` resized to ``hw``, uint8 RGB [*hw, 3], and the (height, width) that it has itself, both
    turned as its EXIF orientation says.

    What is much larger is decoded at a half, a quarter or an eighth of its sides where it is a JPEG, which spares
    large photographs about half of the decoding; everything lies where it would lie without. Besides the result it
    takes no more memory than ``read_image``, and it raises what that raises.
    """
    decoded = decode_for(path, hw)
    if decoded.by == 1:
        whole = decoded.upright(decoded.rgb)
        return cv2.resize(whole, hw[::-1], interpolation=cv2.INTER_LINEAR), whole.shape[:2]
    resized = _resized(decoded, hw[::-1] if decoded.turned else hw)
    return decoded.upright(resized), decoded.whole_hw[::-1] if decoded.turned else decoded.whole_hw


def decode_for(path: Path, hw: tuple[int, int]) -> Decoded:
    """The image at ``path``, of whose pixels no more are decoded than ``read_resized`` needs for ``hw``."""
    height, width = hw
    return decode(path, (math.ceil(_MARGIN * height), math.ceil(_MARGIN * width)))


def _resized(decoded: Decoded, hw: tuple[int, int]) -> np.ndarray:
    """A reduced image, as it lies in its file, resized to ``hw`` as if it were whole.

    cv2.resize would pull in what reaches out of the whole, and so move the far edge by up to a pixel. Cubic, since
    bilinear, after the smoothing of the smaller DCT, leaves less of fine detail than it leaves of a whole image.
    """
    y, x = (decoded.by * new / whole for new, whole in zip(hw, decoded.whole_hw, strict=True))
    # From centre to centre of pixels, which lie half a pixel from the corner.
    matrix = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
    return cv2.warpAffine(decoded.rgb, matrix, hw[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
