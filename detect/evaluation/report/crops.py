"""Parts of images that show one error, with ground truth and detection as lines over them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

_SIDE = 320  # pixels of the longer side of a crop
_QUALITY = 80  # of the JPEG; noise of 320 x 320 pixels takes 80 KB, photographs 10 to 20 KB
_MARGIN = 0.4  # of the longer side of the boxes, on each side
_MIN_SIDE = 64  # pixels of the image
_MAX_OTHERS = 20


@dataclass(frozen=True)
class Crop:
    """A part of an image, and boxes in it.

    jpeg: base64 of the JPEG, at most 320 pixels wide and high.
    width, height: pixels.
    boxes: (kind, x, y, width, height) in pixels of the crop; kind is "other", "annotated" or "detected".
    """

    jpeg: str
    width: int
    height: int
    boxes: list[tuple[str, float, float, float, float]]


@dataclass(frozen=True)
class Boxes:
    """Boxes of one error, float64, xyxy in pixels of the image.

    annotated: [4] or None.  detected: [4] or None; at least one of the two is given.  others: [N, 4], other objects.
    """

    annotated: np.ndarray | None
    detected: np.ndarray | None
    others: np.ndarray

    def concerned(self) -> np.ndarray:
        """Return the annotated and the detected box as far as they exist, float64 [1 or 2, 4]."""
        return np.stack([box for box in (self.annotated, self.detected) if box is not None])


def crop(image: np.ndarray, boxes: Boxes) -> Crop:
    """Return the surroundings of ``boxes`` in ``image``, uint8 RGB [H, W, 3]."""
    left, top, right, bottom = surroundings(boxes.concerned(), (image.shape[0], image.shape[1]))
    scale = min(1.0, _SIDE / max(right - left, bottom - top))
    width, height = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    content = BytesIO()
    part.resize((width, height), Image.Resampling.LANCZOS).save(content, "JPEG", quality=_QUALITY)
    corner = np.array([left, top, left, top])
    lines = [("other", box) for box in boxes.others[:_MAX_OTHERS]]
    lines += [("annotated", boxes.annotated)] if boxes.annotated is not None else []
    lines += [("detected", boxes.detected)] if boxes.detected is not None else []
    drawn: list[tuple[str, float, float, float, float]] = []
    for kind, box in lines:
        x0, y0, x1, y1 = ((box - corner) * scale).clip(0, [width, height, width, height]).round(1).tolist()
        if x1 > x0 and y1 > y0:
            drawn.append((kind, x0, y0, x1 - x0, y1 - y0))
    return Crop(base64.b64encode(content.getvalue()).decode(), width, height, drawn)


def surroundings(boxes: np.ndarray, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return a part of the image, xyxy in pixels, about square, around boxes, float64 [N, 4]."""
    height, width = image_hw
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), _MIN_SIDE)
    (left, right), (top, bottom) = (
        _inside((low[axis] + high[axis]) / 2, side, limit) for axis, limit in ((0, width), (1, height))
    )
    return left, top, right, bottom


def _inside(center: float, side: float, limit: int) -> tuple[int, int]:
    """Return a range of about ``side`` pixels around ``center``, moved and cut to lie in 0..limit."""
    start = min(max(center - side / 2, 0), max(limit - side, 0))
    first = min(int(start), limit - 1)
    return first, max(first + 1, min(limit, round(start + side)))
