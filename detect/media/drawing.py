"""Draws detections on an image: boxes, translucent masks, keypoints, and labels that are legible on any background."""

from __future__ import annotations

import colorsys
from functools import cache, lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw

from detect.errors import UsageError
from detect.media.color import check_rgb_array
from detect.media.fonts import font_of_size, warn_of_missing_glyphs
from detect.options import suggest_keywords
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

Color = tuple[int, int, int]
PixelBox = tuple[int, int, int, int]  # xyxy

MASK_OPACITY = 0.45
_FEW = 20  # detections whose labels fit on an image in large letters
MIN_KEYPOINT_SCORE = 2.0  # logit from which a keypoint is drawn, as in Detectron (detectron/utils/vis.py)
# Pairs of COCO's 17 keypoints of a person (https://cocodataset.org/#keypoints-2017) that are connected by a line.
_SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
_GOLDEN_RATIO = 0.618034  # hue step that keeps consecutive colors far apart on the color wheel
_TONES = ((0.80, 1.00), (0.95, 0.80), (0.55, 0.95))  # (saturation, value), used in turn


@suggest_keywords
def draw(
    image: np.ndarray,
    detections: Detections,
    class_names: ClassNames,
    *,
    color_instances: bool = True,
    show_scores: bool = True,
    tint: bool = True,
) -> np.ndarray:
    """Return a copy of ``image`` (uint8 RGB [H, W, 3]) with ``detections`` drawn on it.

    class_names: ClassNames of the labels.
    color_instances: with a single class, whether each instance gets its own color. Set it to False for videos, where
        the order of instances, and so their colors, would change from frame to frame. With several classes each class
        has its color. Tracked detections have the color of their track in any case.
    show_scores: whether each label shows the score after the class name and, if it was tracked, the track id.
    tint: whether masks are filled; otherwise only their contours are drawn.

    Characters that the font lacks appear as boxes, with one warning per process that names their scripts.
    Raises UsageError if the image is not uint8 [H, W, 3] or does not have the size of the detections.
    """
    check_rgb_array(image)
    if image.shape[:2] != tuple(detections.image_hw):
        raise UsageError(
            f"the detections belong to an image of {detections.image_hw} (h, w), but this image has {image.shape[:2]}"
        )
    if len(detections):
        warn_of_missing_glyphs(class_names.names)
    canvas = image.copy()
    colors = _colors(detections, color_instances and len(class_names) == 1)
    line, font_size = line_and_font_size(canvas, len(detections))
    by_ascending_score = range(len(detections) - 1, -1, -1)  # so that high scores are drawn on top
    if detections.masks is not None:
        for i in by_ascending_score:
            _draw_mask(canvas, detections.masks[i], colors[i], line, tint)
    height, width = image.shape[:2]
    inside = np.rint(detections.boxes).clip(0, [width - 1, height - 1, width - 1, height - 1])
    boxes = inside.astype(int).tolist()
    for i in by_ascending_score:
        _draw_box(canvas, boxes[i], colors[i], line)
        if detections.keypoints is not None:
            _draw_keypoints(canvas, detections.keypoints[i], colors[i], line)
    occupied: list[PixelBox] = []
    for i, label in enumerate(detections.labels.tolist()):
        track = "" if detections.track_ids is None else f" #{detections.track_ids[i]}"
        text = class_names.name(label) + track + (f" {detections.scores[i]:.2f}" if show_scores else "")
        occupied.append(_draw_label(canvas, render_label(text, font_size, colors[i]), boxes[i], occupied))
    return canvas


def gray_around(image: np.ndarray, detections: Detections) -> np.ndarray:
    """Return a copy of ``image`` (uint8 RGB [H, W, 3]) that is gray outside the objects: outside their masks, or
    outside their boxes if there are no masks."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    on = np.zeros(image.shape[:2], np.uint8)
    for rle in detections.masks or ():
        inside, (left, top) = masks.to_crop(rle)
        on[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
    if detections.masks is None:
        for x0, y0, x1, y1 in np.rint(detections.boxes).clip(0).astype(int).tolist():
            on[y0:y1, x0:x1] = 1
    return cv2.copyTo(image, on, gray)


@cache
def color(index: int) -> Color:
    """Return color number ``index`` (0, 1, ...) of an endless palette, as RGB 0..255.

    Consecutive colors are easy to tell apart."""
    saturation, value = _TONES[index % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.98 + index * _GOLDEN_RATIO) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _colors(detections: Detections, by_rank: bool) -> list[Color]:
    """Return one color per track, per detection (``by_rank``) or per class."""
    if detections.track_ids is not None:
        return [color(track_id - 1) for track_id in detections.track_ids.tolist()]
    return [color(i if by_rank else label - 1) for i, label in enumerate(detections.labels.tolist())]


def line_and_font_size(image: np.ndarray, count: int = 0) -> tuple[int, int]:
    """Return line width and font size in pixels, in proportion to the size of the image.

    With more than _FEW detections the letters get smaller, so that all labels together cover no more of the image.
    """
    height, width = image.shape[:2]
    side = (height * width) ** 0.5
    return max(1, round(side / 320)), max(9, round(side / 38 * min(1, _FEW / max(count, 1)) ** 0.5))


def _draw_mask(canvas: np.ndarray, rle: masks.Rle, rgb: Color, line: int, tint: bool) -> None:
    inside, (left, top) = masks.to_crop(rle)
    if not inside.size:
        return
    if tint:
        crop = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
        tinted = cv2.addWeighted(crop, 1 - MASK_OPACITY, np.full_like(crop, rgb), MASK_OPACITY, 0)
        cv2.copyTo(tinted, inside, crop)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, contours, -1, rgb, line, cv2.LINE_AA, offset=(left, top))


def _draw_box(canvas: np.ndarray, box: list[int], rgb: Color, line: int) -> None:
    x0, y0, x1, y1 = box
    if line > 1:  # a dark rim keeps the line visible on a background of the same color, except in small images
        cv2.rectangle(canvas, (x0, y0), (x1, y1), tuple(c // 4 for c in rgb), line + 2)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), rgb, line)


def _draw_keypoints(canvas: np.ndarray, points: np.ndarray, rgb: Color, line: int) -> None:
    """Draw the points [P, 3] with sufficient score, and for a person the lines between them."""
    positions = np.rint(points[:, :2]).astype(int).tolist()
    is_confident = points[:, 2] >= MIN_KEYPOINT_SCORE
    for a, b in _SKELETON if len(points) == 17 else ():
        if is_confident[a] and is_confident[b]:
            cv2.line(canvas, positions[a], positions[b], rgb, line, cv2.LINE_AA)
    for position in (positions[i] for i in np.flatnonzero(is_confident)):
        cv2.circle(canvas, position, 2 * line, tuple(c // 4 for c in rgb), -1, cv2.LINE_AA)
        cv2.circle(canvas, position, line, (255, 255, 255), -1, cv2.LINE_AA)


def _draw_label(canvas: np.ndarray, label: np.ndarray, box: list[int], occupied: list[PixelBox]) -> PixelBox:
    """Draw ``label`` inside the image at a corner of ``box`` and return its position.

    It is placed at the first corner where it overlaps no position in ``occupied``, else at the upper left one.
    """
    height, width = canvas.shape[:2]
    label = label[:height, :width]
    h, w = label.shape[:2]
    x0, y0, x1, y1 = box
    candidates: list[PixelBox] = []
    for x, y in [(x0, y0 - h), (x0, y0), (x1 - w, y0 - h), (x0, y1), (x0, y1 - h), (x1 - w, y1)]:
        x, y = min(max(x, 0), width - w), min(max(y, 0), height - h)
        candidates.append((x, y, x + w, y + h))
    free = (one for one in candidates if not any(_overlap(one, other) for other in occupied))
    position = next(free, candidates[0])
    canvas[position[1] : position[3], position[0] : position[2]] = label
    return position


def _overlap(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@lru_cache(maxsize=1024)
def render_label(text: str, font_size: int, rgb: Color) -> np.ndarray:
    """Return ``text`` on a background of color ``rgb``, uint8 RGB [h, w, 3]. Cached, since a video repeats labels."""
    font = font_of_size(font_size)
    text = " ".join(text.splitlines())  # a class name may hold line breaks, which Pillow cannot measure
    margin = max(1, font_size // 5)
    _, top, _, bottom = font.getbbox("Ágpj(")  # ascenders and descenders, so that all labels have the same height
    width = round(font.getlength(text)) + 2 * margin
    luminance = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    label = Image.new("RGB", (width, round(bottom - top) + 2 * margin), rgb)
    ImageDraw.Draw(label).text((margin, margin - top), text, "black" if luminance > 128 else "white", font)
    return np.asarray(label)
