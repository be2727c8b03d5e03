"""The warning about 16-bit images that use few gray levels."""

from __future__ import annotations

from contextlib import AbstractContextManager

from detect.media.images import Decoded
from detect.progress import warn
from detect.text import counted


class GrayLevelCounter(AbstractContextManager["GrayLevelCounter"]):
    """Counts 16-bit images that are nearly black or flat in 8 bits, and at the end of the block warns in one line."""

    def __init__(self) -> None:
        self._total = self._few = 0

    def add(self, image: Decoded) -> None:
        """Count one image."""
        self._total += 1
        self._few += image.has_few_gray_levels

    def __exit__(self, *_: object) -> None:
        if self._few:
            warn(
                f"{self._few} of {counted(self._total, 'image')} with 16 bits that use few gray levels, much of which"
                " is lost in 8 bits; scale them with `rescale_16bit` and the gray values of black and white, which"
                " doctor.py fix prints for a dataset"
            )
