"""Detections on an image: boxes, translucent masks, keypoints and labels that can be read on any background."""

from __future__ import annotations

import colorsys
import importlib.util
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

Color = tuple[int, int, int]

MASK_OPACITY = 0.45
LEAST_POINT_SCORE = 2.0  # of a keypoint to be drawn: Detectron's, for the same logits (detectron/utils/vis.py)
# Which of COCO's 17 points of a person (https://cocodataset.org/#keypoints-2017) are joined by a line.
_BONES = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
_GOLDEN = 0.618034  # steps of the golden section keep neighbours on the color wheel far apart
_TONES = ((0.80, 1.00), (0.95, 0.80), (0.55, 0.95))  # (saturation, value), tried in turn


def draw(
    image: np.ndarray,
    detections: Detections,
    class_names: ClassNames,
    *,
    color_instances: bool = True,
    show_scores: bool = True,
    tint: bool = True,
) -> np.ndarray:
    """A copy of ``image`` (uint8 RGB [H, W, 3]) with ``detections`` (of the same size) on it.

    Each class has its color. Where there is but one class each instance has one, unless ``color_instances``
    is false, as it should be in a video: ranks, and so colors, change from frame to frame. Without ``show_scores``
    labels are names alone, as for what was annotated. Without ``tint`` masks are outlined alone.
    """
    if image.shape[:2] != tuple(detections.image_hw):
        raise ValueError(f"detections of {detections.image_hw} on an image of {image.shape[:2]} (h, w)")
    canvas = image.copy()
    by_rank = color_instances and len(class_names) == 1
    colors = [color(i if by_rank else label - 1) for i, label in enumerate(detections.labels.tolist())]
    line, font_size = _scale(canvas)
    worst_first = range(len(detections) - 1, -1, -1)  # so that the best lie on top
    if detections.masks is not None:
        for i in worst_first:
            _draw_mask(canvas, detections.masks[i], colors[i], line, tint)
    height, width = image.shape[:2]
    inside = np.rint(detections.boxes).clip(0, [width - 1, height - 1, width - 1, height - 1])
    corners = inside.astype(int).tolist()
    for i in worst_first:
        _draw_box(canvas, corners[i], colors[i], line)
        if detections.keypoints is not None:
            _draw_points(canvas, detections.keypoints[i], colors[i], line)
    plates: list[tuple[int, int, int, int]] = []
    for i, label in enumerate(detections.labels.tolist()):
        text = class_names.name(label) + (f" {detections.scores[i]:.2f}" if show_scores else "")
        plate = _plate(text, font_size, colors[i])
        plates.append(_draw_plate(canvas, plate, corners[i], plates))
    return canvas


def gray_around(image: np.ndarray, detections: Detections) -> np.ndarray:
    """A copy of ``image`` (uint8 RGB [H, W, 3]) whose colors are left on the objects alone: within their masks, or
    within their boxes where they have none."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    on = np.zeros(image.shape[:2], np.uint8)
    for rle in detections.masks or ():
        on |= masks.to_bitmap(rle)
    if detections.masks is None:
        for x0, y0, x1, y1 in np.rint(detections.boxes).clip(0).astype(int).tolist():
            on[y0:y1, x0:x1] = 1
    return cv2.copyTo(image, on, gray)


@cache
def color(index: int) -> Color:
    """The RGB color number ``index`` (0, 1, ...) of a palette without end, neighbours well apart."""
    saturation, value = _TONES[index % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.98 + index * _GOLDEN) % 1, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _scale(image: np.ndarray) -> tuple[int, int]:
    """Line width and font size in pixels, for an image that is looked at as a whole."""
    height, width = image.shape[:2]
    side = (height * width) ** 0.5
    return max(1, round(side / 320)), max(9, round(side / 38))


def _draw_mask(canvas: np.ndarray, rle: masks.Rle, rgb: Color, line: int, tint: bool) -> None:
    left, top, right, bottom = masks.box(rle).astype(int).tolist()
    if left >= right or top >= bottom:
        return
    inside = np.ascontiguousarray(masks.to_bitmap(rle)[top:bottom, left:right])
    if tint:
        crop = canvas[top:bottom, left:right]
        tinted = cv2.addWeighted(crop, 1 - MASK_OPACITY, np.full_like(crop, rgb), MASK_OPACITY, 0)
        cv2.copyTo(tinted, inside, crop)
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(canvas, outlines, -1, rgb, line, cv2.LINE_AA, offset=(left, top))


def _draw_box(canvas: np.ndarray, box: list[int], rgb: Color, line: int) -> None:
    x0, y0, x1, y1 = box
    if line > 1:  # a dark rim tells the line from a background of its own color; a small image has no room
        cv2.rectangle(canvas, (x0, y0), (x1, y1), tuple(c // 4 for c in rgb), line + 2)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), rgb, line)


def _draw_points(canvas: np.ndarray, points: np.ndarray, rgb: Color, line: int) -> None:
    """The points [P, 3] that score enough, and lines between those of a person."""
    places = np.rint(points[:, :2]).astype(int).tolist()
    sure = points[:, 2] >= LEAST_POINT_SCORE
    for a, b in _BONES if len(points) == 17 else ():
        if sure[a] and sure[b]:
            cv2.line(canvas, places[a], places[b], rgb, line, cv2.LINE_AA)
    for place in (place for place, is_sure in zip(places, sure, strict=True) if is_sure):
        cv2.circle(canvas, place, 2 * line, tuple(c // 4 for c in rgb), -1, cv2.LINE_AA)
        cv2.circle(canvas, place, line, (255, 255, 255), -1, cv2.LINE_AA)


def _draw_plate(
    canvas: np.ndarray, plate: np.ndarray, box: list[int], taken: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int]:
    """Lay ``plate`` inside the image at a corner of ``box``, if it can be on no other; its place xyxy."""
    height, width = canvas.shape[:2]
    plate = plate[:height, :width]
    h, w = plate.shape[:2]
    x0, y0, x1, y1 = box
    corners = [(x0, y0 - h), (x0, y0), (x1 - w, y0 - h), (x0, y1), (x0, y1 - h), (x1 - w, y1)]
    places = []
    for x, y in corners:
        x, y = min(max(x, 0), width - w), min(max(y, 0), height - h)
        places.append((x, y, x + w, y + h))
    place = next((p for p in places if not any(_overlap(p, other) for other in taken)), places[0])
    canvas[place[1] : place[3], place[0] : place[2]] = plate
    return place


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@lru_cache(maxsize=1024)
def _plate(text: str, font_size: int, rgb: Color) -> np.ndarray:
    """``text`` on a ground of ``rgb``, uint8 RGB [h, w, 3]; kept, as a video repeats its labels."""
    font = _font(font_size)
    margin = max(1, font_size // 5)
    _, top, _, bottom = font.getbbox("Ágpj(")  # one height for all labels
    width = round(font.getlength(text)) + 2 * margin
    luminance = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    plate = Image.new("RGB", (width, round(bottom - top) + 2 * margin), rgb)
    ImageDraw.Draw(plate).text((margin, margin - top), text, "black" if luminance > 128 else "white", font)
    return np.asarray(plate)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which has the alphabets of Europe and more; Pillow's own font has but ASCII."""
    matplotlib = importlib.util.find_spec("matplotlib")  # finds its folder without the cost of its import
    places = ["DejaVuSans.ttf"]
    if matplotlib is not None and matplotlib.origin is not None:
        places.insert(0, str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    for place in places:
        try:
            return ImageFont.truetype(place, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
