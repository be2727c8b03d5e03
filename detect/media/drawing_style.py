"""How detections are drawn: settings of the command line, ``Detections.draw``, and the writers of annotated files."""

from __future__ import annotations

from dataclasses import dataclass

from detect.media.fonts import check_font
from detect.options import option

MIN_FONT_SIZE = 9  # pixels


@dataclass(kw_only=True)
class DrawingStyle:
    """Raises UsageError for a font that does not exist."""

    line_width: int | None = option(
        None,
        "width of boxes and contours in pixels; contours of small parts of a mask are narrower (default: fitted to the"
        " image and to each object)",
        low=1,
        high=100,
    )
    font: str | None = option(
        None,
        "TrueType or OpenType font of the labels; scripts that it lacks are drawn with fonts of the system (default:"
        " DejaVu Sans)",
        metavar="FILE",
    )
    hide_labels: bool = option(False, "draw no labels")
    hide_scores: bool = option(False, "leave the scores out of the labels")
    hide_boxes: bool = option(False, "draw no boxes")
    hide_masks: bool = option(False, "draw no masks")

    def __post_init__(self) -> None:
        check_font(self.font)


def base_line_width(image_hw: tuple[int, int]) -> int:
    """Return the width in pixels of the lines of a large object, in proportion to the size of the image."""
    return max(1, round((image_hw[0] * image_hw[1]) ** 0.5 / 320))


def base_font_size(image_hw: tuple[int, int]) -> int:
    """Return the size in pixels of the letters of a large object, in proportion to the size of the image."""
    return max(MIN_FONT_SIZE, round((image_hw[0] * image_hw[1]) ** 0.5 / 38))
