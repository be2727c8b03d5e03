"""Draws detections on an image: boxes, translucent masks, keypoints, and labels that are legible on any background."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detect.errors import UsageError
from detect.media.color import check_rgb_array
from detect.media.drawing_style import DrawingStyle, base_line_width
from detect.media.labels import draw_captions, draw_labels
from detect.media.palette import BLACK, WHITE, Color, color, mix, rim
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

MASK_OPACITY = 0.35
MIN_KEYPOINT_SCORE = 2.0  # logit from which a keypoint is drawn, as in Detectron (detectron/utils/vis.py)
# Pairs of COCO's 17 keypoints of a person (https://cocodataset.org/#keypoints-2017) that are connected by a line.
_SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
    *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)
_PIXELS_PER_LINE = 24  # side of an object whose lines have one pixel more


def draw(
    image: np.ndarray,
    detections: Detections,
    class_names: ClassNames,
    style: DrawingStyle | None = None,
    *,
    color_instances: bool = False,
    tint: bool = True,
    captions: Sequence[str] = (),
) -> np.ndarray:
    """Return a copy of ``image`` (uint8 RGB [H, W, 3]) with ``detections`` drawn on it.

    class_names: ClassNames of the labels.
    style: what is drawn, and the width of lines.
    color_instances: whether each instance has its own color, in place of that of its class. Tracked detections have
        the color of their track in any case.
    tint: whether masks are filled; otherwise only their contours are drawn.
    captions: lines of text in the upper left corner, which labels do not hide.

    Raises UsageError if the image is not uint8 [H, W, 3] or does not have the size of the detections.
    """
    check_rgb_array(image)
    if image.shape[:2] != tuple(detections.image_hw):
        raise UsageError(
            f"the detections belong to an image of {detections.image_hw} (h, w), but this image has {image.shape[:2]}"
        )
    style, canvas = style or DrawingStyle(), image.copy()
    colors = _colors(detections, color_instances)
    height, width = image.shape[:2]
    boxes = np.rint(detections.boxes).clip(0, [width - 1, height - 1, width - 1, height - 1]).astype(int)
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    largest_first = np.argsort(-sides, kind="stable").tolist()  # so that small objects lie on top of large ones
    lines = _line_widths(image, sides, style)
    if detections.masks is not None and not style.hide_masks:
        for i in largest_first:
            _draw_mask(canvas, detections.masks[i], colors[i], lines[i], tint)
    for i in largest_first:
        if not style.hide_boxes:
            _draw_box(canvas, boxes[i].tolist(), colors[i], lines[i])
        if detections.keypoints is not None:
            _draw_keypoints(canvas, detections.keypoints[i], colors[i], lines[i])
    taken = draw_captions(canvas, captions, style)
    if not style.hide_labels:
        draw_labels(canvas, detections, class_names, colors, style, taken)
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


def _colors(detections: Detections, by_rank: bool) -> list[Color]:
    """Return one color per track, per detection (``by_rank``) or per class."""
    if detections.track_ids is not None:
        return [color(track_id - 1) for track_id in detections.track_ids.tolist()]
    return [color(i if by_rank else label - 1) for i, label in enumerate(detections.labels.tolist())]


def _line_widths(image: np.ndarray, sides: np.ndarray, style: DrawingStyle) -> list[int]:
    """Return the width of the lines of each object in pixels.  sides: square roots of the areas of the boxes."""
    if style.line_width is not None:
        return [style.line_width] * len(sides)
    widest = base_line_width(image.shape[:2])
    return np.rint(sides / _PIXELS_PER_LINE).clip((widest + 1) // 2, widest).astype(int).tolist()


def _draw_mask(canvas: np.ndarray, rle: masks.Rle, rgb: Color, line: int, tint: bool) -> None:
    inside, (left, top) = masks.to_crop(rle)
    if not inside.size:
        return
    if tint:
        crop = canvas[top : top + inside.shape[0], left : left + inside.shape[1]]
        tinted = cv2.addWeighted(crop, 1 - MASK_OPACITY, np.full_like(crop, rgb), MASK_OPACITY, 0)
        cv2.copyTo(tinted, inside, crop)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    widest = base_line_width(canvas.shape[:2])
    for i, contour in enumerate(contours):
        _, _, width, height = cv2.boundingRect(contour)
        # A given line width would hide small parts and holes of a mask.
        line_here = min(line, max(widest, round((width * height) ** 0.5 / _PIXELS_PER_LINE)))
        thickness = line_here // 2 + 1  # with which OpenCV draws a line of so many pixels, rounded up to an odd number
        cv2.drawContours(canvas, contours, i, rgb, thickness, cv2.LINE_AA, offset=(left, top))


def _draw_box(canvas: np.ndarray, box: list[int], rgb: Color, line: int) -> None:
    """Draw a line of exactly ``line`` pixels, and around it a rim that shows it on a background of the same color."""
    x0, y0, x1, y1 = box
    outer = line // 2 + max(1, line // 4)
    for offset in range(outer, line // 2 - line, -1):  # from the outside to the inside
        rim_or_line = rgb if offset <= line // 2 else rim(rgb)
        cv2.rectangle(canvas, (x0 - offset, y0 - offset), (x1 + offset, y1 + offset), rim_or_line)


def _draw_keypoints(canvas: np.ndarray, points: np.ndarray, rgb: Color, line: int) -> None:
    """Draw the points [P, 3] with sufficient score, and for a person the lines between them."""
    positions = np.rint(points[:, :2]).astype(int).tolist()
    is_confident = points[:, 2] >= MIN_KEYPOINT_SCORE
    for a, b in _SKELETON if len(points) == 17 else ():
        if is_confident[a] and is_confident[b]:
            cv2.line(canvas, positions[a], positions[b], rgb, line, cv2.LINE_AA)
    for position in (positions[i] for i in np.flatnonzero(is_confident)):
        cv2.circle(canvas, position, 2 * line, mix(rgb, BLACK, 0.75), -1, cv2.LINE_AA)
        cv2.circle(canvas, position, line, WHITE, -1, cv2.LINE_AA)
