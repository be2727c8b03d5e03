"""A line of text above an image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from detect.media.fonts import font_of_size
from detect.media.image_paths import shown

HEIGHT = 24  # pixels
_FONT = 15  # pixels


def text_line(text: str, width: int) -> np.ndarray:
    """Return ``text`` on white, uint8 RGB [24, width, 3], with the middle of a text that is too long left out."""
    font, text = font_of_size(_FONT), shown(text)
    kept = len(text)
    while kept > 1 and font.getlength(text) > width:
        kept -= 1
        text = f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"
    line = Image.new("RGB", (width, HEIGHT), "white")
    ImageDraw.Draw(line).text((0, HEIGHT / 2), text, "black", font, anchor="lm")
    return np.asarray(line)
