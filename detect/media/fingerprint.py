"""An image looked at as a whole: whether all of it can be read, a digest of its bytes, and a thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detect import progress
from detect.errors import MediaError
from detect.media.images import decode

SIDE = 16  # of a thumbnail
_ENOUGH = 8 * SIDE  # pixels a side, of which a thumbnail comes out as of all
_THREADS = 2  # decoding leaves Python's lock
_MANY = 200  # images from which on a bar is shown


@dataclass(frozen=True)
class Look:
    """digest: sha256 of the file's bytes.  thumbnail: uint8 RGB [16, 16, 3], upright; None where the pixels cannot be
    read, for which ``problem`` has the words."""

    digest: str
    thumbnail: np.ndarray | None
    problem: str = ""


def look(path: Path) -> Look:
    """Reads all of the file."""
    try:
        decoded = decode(path, (_ENOUGH, _ENOUGH))  # which reads and checks all of the file
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        thumbnail = cv2.resize(decoded.rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return Look(digest, decoded.upright(thumbnail))
    except (MediaError, OSError) as error:
        return Look("", None, str(error))


def look_at_all(paths: Sequence[Path]) -> list[Look]:
    """``look`` at each."""
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = pool.map(look, paths)
        return list(progress.bar(looks, total=len(paths), desc="looking at images", disable=len(paths) < _MANY))
