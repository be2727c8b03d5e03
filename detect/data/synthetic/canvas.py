"""Basics of rendering: antialiased coverage of shapes, visible parts of overlapping shapes, and a camera model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detect.structures import masks

_SUPERSAMPLING = 4
_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 of a (supersampled) pixel

# An object is drawn, and becomes ground truth, only if this much of it is visible.
MIN_VISIBLE_FRACTION = 0.2
MIN_AREA = 40  # px²


@dataclass(frozen=True)
class Image:
    """A rendered image and its ground truth.

    image: uint8 RGB [H, W, 3].
    masks: visible part of each object.
    category_ids: category id of each object.
    """

    image: np.ndarray
    masks: list[masks.Rle]
    category_ids: list[int]


@dataclass(frozen=True)
class Patch:
    """The part of a shape inside the image.

    alpha: coverage, float32 [h, w] in 0..1.
    corner_xy: upper left pixel of ``alpha`` in the image.
    whole_area: area of the whole shape, also outside the image, px².
    """

    alpha: np.ndarray
    corner_xy: tuple[int, int]
    whole_area: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that ``alpha`` covers."""
        (x, y), (h, w) = self.corner_xy, self.alpha.shape
        return slice(y, y + h), slice(x, x + w)

    def paint(self, canvas: np.ndarray, color: np.ndarray) -> None:
        """Paint a color, [3] or [h, w, 3], onto ``canvas``, float32 RGB [H, W, 3]."""
        region = canvas[self.window]
        region += self.alpha[..., None] * (color - region)


def patch_of(polygons: Sequence[np.ndarray], image_hw: tuple[int, int], blur: float = 0.0) -> Patch:
    """Return the coverage of the union of polygons.

    polygons: vertices [K, 2], xy, px.  blur: sigma of a Gaussian blur, px.
    """
    points = np.concatenate(polygons)
    margin = int(np.ceil(3 * blur)) + 2
    x0, y0 = np.floor(points.min(axis=0)).astype(int) - margin
    x1, y1 = np.ceil(points.max(axis=0)).astype(int) + margin
    large = np.zeros(((y1 - y0) * _SUPERSAMPLING, (x1 - x0) * _SUPERSAMPLING), np.uint8)
    for polygon in polygons:
        scaled = (polygon - (x0, y0)) * _SUPERSAMPLING
        fixed = np.round(scaled * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(large, [fixed], 255, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    # cv2 also fills the right and the lower edge, one supersampled pixel too many.
    large = cv2.erode(large, np.ones((2, 2), np.uint8), anchor=(0, 0))
    small = cv2.resize(large, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    alpha = np.asarray(cv2.GaussianBlur(small, (0, 0), blur) if blur > 0 else small)
    whole_area = float((alpha > 0.5).sum())
    height, width = image_hw
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = max(min(x1, width), left), max(min(y1, height), top)
    inside = alpha[top - y0 : bottom - y0, left - x0 : right - x0]
    return Patch(inside, (int(left), int(top)), whole_area)


def visible_parts(
    patches: Sequence[Patch], image_hw: tuple[int, int], min_fraction: float = MIN_VISIBLE_FRACTION
) -> list[masks.Rle | None]:
    """Return the visible mask of each of ``patches`` (back to front), or None for one that must not be drawn.

    A pixel belongs to the foremost patch that covers more than half of it. min_fraction: of the whole shape, that must
    be visible. One pass from the front suffices, since a patch that is not drawn uncovers only patches behind it.
    """
    taken = np.zeros(image_hw, bool)
    parts: list[masks.Rle | None] = []
    for patch in reversed(patches):
        solid = patch.alpha > 0.5
        visible = solid & ~taken[patch.window]
        if visible.sum() < max(MIN_AREA, min_fraction * patch.whole_area):
            parts.append(None)
            continue
        taken[patch.window] |= solid
        parts.append(masks.from_crop(visible, patch.corner_xy, image_hw))
    return parts[::-1]


def camera(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ``image`` with the white balance, lens and noise of a small camera, uint8 RGB [H, W, 3].

    image: float32 RGB [H, W, 3] in 0..1.
    """
    height, width = image.shape[:2]
    warmth = rng.normal(0, 0.03)
    image = image * np.asarray([1 + warmth, 1, 1 - warmth], np.float32) * np.float32(rng.uniform(0.92, 1.08))
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = image * (1 - rng.uniform(0, 0.18) * (x * x + y * y) / 2).astype(np.float32)[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.9))
    # Sensor noise grows with the square root of the light; a part of it is common to all channels.
    grain = rng.standard_normal((height, width, 3), dtype=np.float32)
    grain = 0.6 * grain + 0.4 * grain[..., :1]
    image = image + rng.uniform(0.003, 0.022) * grain * np.sqrt(np.clip(image, 0.05, 1))
    return to_uint8(image)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return an image with values 0..1 as uint8."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
