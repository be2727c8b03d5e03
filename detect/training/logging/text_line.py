"""A line of text above an image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from detect.media.fonts import draw_text, text_length
from detect.media.image_paths import shown

HEIGHT = 24  # pixels
_FONT = 15  # pixels


def text_line(text: str, width: int) -> np.ndarray:
    """Return ``text`` on white, uint8 RGB [24, width, 3], with the middle of a text that is too long left out."""
    text = shown(text)
    kept = len(text)
    while kept > 1 and text_length(text, _FONT) > width:
        kept -= 1
        text = f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"
    line = Image.new("RGB", (width, HEIGHT), "white")
    draw_text(ImageDraw.Draw(line), (0, (HEIGHT - 1.2 * _FONT) / 2), text, _FONT, "black")
    return np.asarray(line)
