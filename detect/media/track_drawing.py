"""Draws what tracking adds to a frame: the trails of objects, and a count line with its counts."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detect.media.drawing import Color, line_and_font_size, render_label

_LINE_COLOR: Color = (255, 255, 255)


def draw_trail(canvas: np.ndarray, points: Sequence[tuple[float, float]], rgb: Color) -> None:
    """Draw a line through ``points`` (x, y) on ``canvas``, uint8 RGB [H, W, 3]."""
    line, _ = line_and_font_size(canvas)
    corners = np.rint(np.array(points)).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [corners], False, rgb, line + 1, cv2.LINE_AA)


def draw_count_line(
    canvas: np.ndarray, start: tuple[float, float], end: tuple[float, float], counts: Sequence[str]
) -> None:
    """Draw a line between two points (x, y) on ``canvas``, and lines of text in the upper left corner."""
    line, font_size = line_and_font_size(canvas)
    a, b = ((round(x), round(y)) for x, y in (start, end))
    cv2.line(canvas, a, b, (0, 0, 0), line + 4, cv2.LINE_AA)
    cv2.line(canvas, a, b, _LINE_COLOR, line + 1, cv2.LINE_AA)
    top = 0
    for text in counts:
        label = render_label(text, font_size, _LINE_COLOR)[: canvas.shape[0] - top, : canvas.shape[1]]
        height, width = label.shape[:2]
        canvas[top : top + height, :width] = label
        top += height
