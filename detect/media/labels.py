"""Draws the labels of objects: in large or small letters, with or without the score, or a chip of color in crowds."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detect.media.drawing_style import MIN_FONT_SIZE, DrawingStyle, base_font_size, base_line_width
from detect.media.fonts import warn_of_missing_glyphs
from detect.media.label_placement import PixelBox, place_labels
from detect.media.label_text import Label, one_line
from detect.media.palette import WHITE, Color, contrasting
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

_SIZES = (1, 0.8, 0.65)  # of the letters, relative to those of a large object
_SMALL = (4.5, 2.5)  # sides of objects, relative to the largest letters, below which smaller ones suit better
_SIZE_COST = 0.04  # of letters one step larger or smaller than the object suggests, in units of a hidden object
_SHORT_COST = 0.08  # of a label without its score
_CHIP = 0.45  # side of a chip of color, relative to the size of the letters


def draw_labels(
    canvas: np.ndarray,
    detections: Detections,
    class_names: ClassNames,
    colors: Sequence[Color],
    style: DrawingStyle,
    taken: Sequence[PixelBox] = (),
) -> None:
    """Draw the labels of ``detections`` on ``canvas``, uint8 RGB [H, W, 3], where they hide few other objects.

    colors: one per object.  taken: parts of the image that labels do not hide.

    The first object of each class, and then large objects, choose their position first. An object whose label would
    hide too much has a chip of its color at its upper left corner instead.
    """
    if not len(detections):
        return
    height, width = canvas.shape[:2]
    warn_of_missing_glyphs(class_names.names, style.font)
    line = base_line_width(canvas.shape[:2]) // 2
    boxes = np.rint(detections.boxes) + np.array([-line, -line, line + 1, line + 1])  # with the lines around them
    boxes = boxes.clip(0, [width, height, width, height]).astype(int)
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    largest_first = np.argsort(-sides, kind="stable")
    _, firsts = np.unique(detections.labels[largest_first], return_index=True)
    is_needed = np.zeros(len(boxes), bool)
    is_needed[largest_first[firsts]] = True
    order = [*largest_first[is_needed[largest_first]].tolist(), *largest_first[~is_needed[largest_first]].tolist()]

    sizes = _font_sizes(base_font_size(canvas.shape[:2]))
    variants = [_variants(i, detections, class_names, sizes, style) for i in range(len(boxes))]
    sizes_wh = np.array([[label.size_wh for label in labels] for labels in variants])
    suggested = sum((sides < factor * sizes[0]).astype(int) for factor in _SMALL)  # position in ``sizes``
    steps = np.abs(np.array([*range(len(sizes)), len(sizes) - 1]) - suggested[:, None])
    costs = steps * _SIZE_COST + np.array([0] * len(sizes) + [_SHORT_COST])
    places = place_labels(boxes, sizes_wh, costs, order, is_needed, (height, width), sizes[0] / 5, taken)
    for i, place in enumerate(places):
        if place is None:
            _draw_chip(canvas, boxes[i].tolist(), colors[i], round(sizes[0] * _CHIP))
    for i, place in enumerate(places):
        if place is not None:
            variant, x, y = place
            plate = variants[i][variant].plate(colors[i])[: height - y, : width - x]
            canvas[y : y + plate.shape[0], x : x + plate.shape[1]] = plate


def draw_captions(canvas: np.ndarray, texts: Sequence[str], style: DrawingStyle) -> list[PixelBox]:
    """Draw lines of text in the upper left corner of ``canvas``, and return their positions."""
    size, top, taken = base_font_size(canvas.shape[:2]), 0, []
    for text in texts:
        plate = Label(one_line(text), "", size, style.font).plate(WHITE)[: canvas.shape[0] - top, : canvas.shape[1]]
        height, width = plate.shape[:2]
        canvas[top : top + height, :width] = plate
        taken.append((0, top, width, top + height))
        top += height
    return taken


def _variants(
    i: int, detections: Detections, class_names: ClassNames, sizes: Sequence[int], style: DrawingStyle
) -> list[Label]:
    """Return the label of a detection in each size, and the smallest one without the score."""
    name = one_line(class_names.name(int(detections.labels[i])))
    track = "" if detections.track_ids is None else f" #{detections.track_ids[i]}"
    score = "" if style.hide_scores else f" {detections.scores[i]:.2f}"
    labels = [Label(name, track + score, size, style.font) for size in sizes]
    return [*labels, Label(name, track, sizes[-1], style.font)]


def _font_sizes(largest: int) -> list[int]:
    return [max(MIN_FONT_SIZE, round(largest * size)) for size in _SIZES]


def _draw_chip(canvas: np.ndarray, box: Sequence[int], rgb: Color, side: int) -> None:
    """Fill a corner of the box, at most a third of its width and height, with the color of the object."""
    x0, y0, x1, y1 = box
    corner = x0 + min(side, (x1 - x0) // 3), y0 + min(side, (y1 - y0) // 3)
    cv2.rectangle(canvas, (x0, y0), corner, contrasting(rgb), -1)
    cv2.rectangle(canvas, (x0, y0), (corner[0] - 1, corner[1] - 1), rgb, -1)
