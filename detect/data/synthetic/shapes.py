"""Rendered dataset "shapes": circles, squares and triangles with sparse, unordered category ids."""

from __future__ import annotations

import cv2
import numpy as np

from detect.data.synthetic.canvas import Image, camera, patch_of, visible_parts
from detect.data.synthetic.scene_backgrounds import noise

CATEGORIES = {90: "circle", 7: "square", 3: "triangle"}  # deliberately neither contiguous nor sorted
SIDE = (160, 257)  # px, half-open
_VERTICES = {90: 72, 7: 4, 3: 3}


def render_image(rng: np.random.Generator, index: int) -> Image:
    """Return image ``index`` of a split: one to five bright shapes on a dull background, drawn from ``rng``."""
    size = (int(rng.integers(*SIDE)), int(rng.integers(*SIDE)))
    gray = rng.uniform(0.2, 0.7) + rng.uniform(-0.06, 0.06, 3)
    canvas = np.asarray(gray, np.float32) * (1 + 0.12 * noise(rng, size, 40, 4))[..., None]
    ids, polygons = _random_shapes(rng, size)
    patches = [patch_of([polygon], size) for polygon in polygons]
    parts = visible_parts(patches, size)
    for patch, part in zip(patches, parts, strict=True):
        if part is not None:
            patch.paint(canvas, _bright(rng))
    visible = [(part, i) for part, i in zip(parts, ids, strict=True) if part is not None]
    return Image(camera(canvas, rng), [part for part, _ in visible], [i for _, i in visible])


def _random_shapes(rng: np.random.Generator, size: tuple[int, int]) -> tuple[list[int], list[np.ndarray]]:
    """Return category ids and polygons [K, 2], px, of shapes that overlap little."""
    height, width = size
    ids: list[int] = []
    polygons: list[np.ndarray] = []
    taken: list[tuple[float, float, float]] = []
    for _ in range(rng.integers(1, 6)):
        radius = rng.uniform(0.09, 0.22) * min(size)
        x, y = rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height
        if any(np.hypot(x - u, y - v) < 0.85 * (radius + r) for u, v, r in taken):
            continue
        taken.append((x, y, radius))
        ids.append(int(rng.choice(list(CATEGORIES))))
        turns = np.linspace(0, 2 * np.pi, _VERTICES[ids[-1]], endpoint=False) + rng.uniform(0, 2 * np.pi)
        polygons.append(np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1))
    return ids, polygons


def _bright(rng: np.random.Generator) -> np.ndarray:
    """Return a bright saturated color, float32 [3]."""
    hsv = np.asarray([[[rng.uniform(0, 360), rng.uniform(0.7, 1), rng.uniform(0.7, 1)]]], np.float32)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
