"""Text of drawn labels: its size, and its pixels."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from detect.media.fonts import font_of_size, runs
from detect.media.palette import Color, contrasting

_MAX_CHARACTERS = 32  # of a class name; of a longer one, the middle is left out
_DIGITS = "0123456789"
_ANY_DIGIT = str.maketrans(_DIGITS, "0" * 10)  # labels whose digits differ have the same width


class Label(NamedTuple):
    """A line of text. ``name`` is drawn as one piece, and ``details`` (track id, score) after it.

    size: pixels of the letters.  font: see ``fonts.runs``.
    """

    name: str
    details: str
    size: int
    font: str | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the plate in pixels."""
        name_width, above, below = _extent(self.name, self.size, self.font)
        width = name_width + _details_width(self.details.translate(_ANY_DIGIT), self.size, self.font)
        return width + 2 * _margin(self.size), above + below

    def plate(self, rgb: Color) -> np.ndarray:
        """Return the text in black or white on a plate of color ``rgb``, uint8 RGB [h, w, 3]."""
        width, height = self.size_wh
        _, baseline, _ = _extent(self.name, self.size, self.font)
        opacity = np.zeros((height, width), np.uint8)
        x = _margin(self.size)
        for part in (self.name, *self.details):  # images have many scores, but few characters of scores
            text, above = _text(part, self.size, self.font)
            opacity[baseline - above : baseline - above + text.shape[0], x : x + text.shape[1]] = text
            x += text.shape[1] if part is self.name else _details_width(part, self.size, self.font)
        return _blend(rgb).take(opacity, axis=0)


@lru_cache(maxsize=4096)
def one_line(name: str) -> str:
    """Return the name of a class as one line of at most 32 characters."""
    name = " ".join(name.split())  # it may hold line breaks, which Pillow cannot measure
    if len(name) <= _MAX_CHARACTERS:
        return name
    kept = _MAX_CHARACTERS - 1
    return f"{name[: kept - kept // 3].rstrip()}…{name[-(kept // 3) :].lstrip()}"


def _margin(size: int) -> int:
    """Return the pixels between the text and the left or right border of its plate."""
    return max(2, round(size * 0.25))


@lru_cache(maxsize=4096)
def _extent(text: str, size: int, font: str | None) -> tuple[int, int, int]:
    """Return the width of ``text`` in pixels, and the height of its plate above and below the baseline.

    The heights are those of a line with ascenders and descenders, and larger for scripts that need more.
    """
    parts = runs(text, size, font)
    width = round(sum(part.getlength(run) for run, part in parts))
    above, below = _line_extent(size, font)
    if not text.isascii():
        boxes = [part.getbbox(run, anchor="ls") for run, part in parts]
        above, below = max(above, *(-box[1] for box in boxes)), max(below, *(box[3] for box in boxes))
    margin = max(1, round(size * 0.12))
    return max(1, width), round(above) + margin, round(below) + margin


@cache
def _line_extent(size: int, font: str | None) -> tuple[float, float]:
    """Return the height of ascenders above the baseline and the depth of descenders below it, in pixels."""
    boxes = [part.getbbox("Ágpj(", anchor="ls") for part in (font_of_size(size, font), font_of_size(size))]
    return max(-box[1] for box in boxes), max(box[3] for box in boxes)


@lru_cache(maxsize=4096)
def _details_width(text: str, size: int, font: str | None) -> int:
    """Return the width of characters that are drawn one by one; all digits are as wide as the widest."""
    return sum(max(_extent(d, size, font)[0] for d in (_DIGITS if c in _DIGITS else c)) for c in text)


@lru_cache(maxsize=4096)
def _text(text: str, size: int, font: str | None) -> tuple[np.ndarray, int]:
    """Return the opacity of ``text``, uint8 [h, width], and the rows above the baseline.

    Cached, since a video repeats its texts.
    """
    width, above, below = _extent(text, size, font)
    opacity = Image.new("L", (width, above + below), 0)
    drawing, x = ImageDraw.Draw(opacity), 0.0
    for part, part_font in runs(text, size, font):
        drawing.text((x, above), part, 255, part_font, anchor="ls")
        x += part_font.getlength(part)
    return np.asarray(opacity), above


@cache
def _blend(rgb: Color) -> np.ndarray:
    """Return the color of a pixel of a plate for each opacity of the text, uint8 [256, 3]."""
    opacity = np.linspace(0, 1, 256)[:, None]
    return np.rint(np.array(rgb) * (1 - opacity) + np.array(contrasting(rgb)) * opacity).astype(np.uint8)
