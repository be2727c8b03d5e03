"""Recovery of JPEG files whose end is missing, as after an interrupted copy.

libjpeg decodes such a file if the end-of-image marker follows its last byte; the missing blocks become gray. No state
of Pillow or of the process is changed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detect.media.encoding import EncodedImage
from detect.media.image_paths import shown

MAX_MISSING = 0.25  # fraction of the rows; with more missing, an image is an error, since its objects may be missing

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_GRAY, _TOLERANCE = 128, 2  # of blocks that are not in the file


def with_end_marker(path: Path | EncodedImage) -> EncodedImage | None:
    """Return a JPEG with an end-of-image marker behind its content; None for another file or one that has it."""
    try:
        content = path.content if isinstance(path, EncodedImage) else path.read_bytes()
    except OSError:
        return None
    if not content.startswith(_START) or content.endswith(_END):
        return None
    return EncodedImage(content.rstrip(b"\0") + _END, shown(path))  # some file systems fill a missing end with zeros


def missing_fraction(rgb: np.ndarray) -> float:
    """Return the fraction of the rows of a recovered JPEG, uint8 RGB [h, w, 3], that are missing at its lower end."""
    present = (np.abs(rgb.astype(np.int16) - _GRAY) > _TOLERANCE).any(axis=(1, 2))
    return 1 - (int(np.flatnonzero(present)[-1]) + 1) / len(rgb) if present.any() else 1.0
