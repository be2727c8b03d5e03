"""Draws what tracking adds to a frame: the trails of objects, and a count line."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detect.media.drawing_style import base_line_width
from detect.media.palette import BLACK, WHITE, Color


def draw_trail(canvas: np.ndarray, points: Sequence[tuple[float, float]], rgb: Color) -> None:
    """Draw a line through ``points`` (x, y) on ``canvas``, uint8 RGB [H, W, 3]."""
    corners = np.rint(np.array(points)).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [corners], False, rgb, base_line_width(canvas.shape[:2]) + 1, cv2.LINE_AA)


def draw_count_line(canvas: np.ndarray, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line between two points (x, y) on ``canvas``, uint8 RGB [H, W, 3]."""
    line = base_line_width(canvas.shape[:2])
    a, b = ((round(x), round(y)) for x, y in (start, end))
    cv2.line(canvas, a, b, BLACK, line + 4, cv2.LINE_AA)
    cv2.line(canvas, a, b, WHITE, line + 1, cv2.LINE_AA)
