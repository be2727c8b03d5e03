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
            verbs = ("has", "uses") if self._few == 1 else ("have", "use")
            warn(
                f"{self._few} of {counted(self._total, 'image')} {verbs[0]} 16 bits but {verbs[1]} few gray levels,"
                " most of which are lost in 8 bits; set `rescale_16bit` to the gray values of black and white, such as"
                " 0 4095 for 12-bit cameras (doctor.py fix prints those of a dataset)"
            )
