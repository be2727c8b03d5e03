"""Fingerprints of images: whether all pixels can be decoded, a digest of the file, and a thumbnail."""

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

SIDE = 16  # pixels of a thumbnail
_DECODED_SIDE = 8 * SIDE  # pixels that give the same thumbnail as the full image
_THREADS = 2  # decoding releases Python's lock
_BAR_FROM = 200  # images


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of one image.

    digest: SHA-256 of the file's bytes, as hex; '' when the image cannot be read.
    thumbnail: uint8 RGB [16, 16, 3], upright; None when the image cannot be read.
    problem: why the image cannot be read, or ''.
    has_few_gray_levels: whether it is a 16-bit image that uses few levels of 8 bits.
    """

    digest: str
    thumbnail: np.ndarray | None
    problem: str = ""
    has_few_gray_levels: bool = False


def fingerprint_image(path: Path) -> Fingerprint:
    """Read and decode all of an image file and return its fingerprint."""
    try:
        decoded = decode(path, (_DECODED_SIDE, _DECODED_SIDE))  # reads and checks the file to its end
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        thumbnail = cv2.resize(decoded.rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        few_levels = decoded.has_few_gray_levels
        return Fingerprint(digest, decoded.upright(thumbnail), has_few_gray_levels=few_levels)
    except (MediaError, OSError) as error:
        return Fingerprint("", None, str(error))


def fingerprint_images(paths: Sequence[Path]) -> list[Fingerprint]:
    """Return the fingerprint of each image, with a progress bar for many."""
    with ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(fingerprint_image, paths)
        return list(progress.bar(results, total=len(paths), desc="reading images", min_items=_BAR_FROM))
