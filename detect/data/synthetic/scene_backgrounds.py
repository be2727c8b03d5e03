"""Backgrounds of rendered images: crops of the sample photographs, and drawn skies, meadows, walls and nights.

Unless stated otherwise, a function returns float32 RGB [H, W, 3] in 0..1, and its generator is the only source of
randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from detect.io.resources import resource

PHOTOGRAPHS = tuple(resource(f"input/image_{n}.jpg") for n in (1, 2, 3, 4))
Size = tuple[int, int]  # height, width


def background(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return a background of a random kind; 40 % are photographs."""
    weights = np.array([weight for _, weight in KINDS])
    draw, _ = KINDS[rng.choice(len(KINDS), p=weights / weights.sum())]
    return draw(rng, size)


def photograph(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return a random crop of a photograph with other colors, flipped and blurred at random."""
    whole = _read(PHOTOGRAPHS[rng.integers(len(PHOTOGRAPHS))])
    height, width = whole.shape[:2]
    aspect = size[1] / size[0]
    crop_h = min(height, width / aspect) * rng.uniform(0.45, 1.0)
    top = int(rng.uniform(0, height - crop_h))
    left = int(rng.uniform(0, width - crop_h * aspect))
    crop = whole[top : top + int(crop_h), left : left + int(crop_h * aspect)]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    image = cv2.resize(np.ascontiguousarray(crop), size[::-1], interpolation=cv2.INTER_CUBIC)
    image = recolored(image, rng, hue=12, saturation=0.35)
    if rng.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 7))
    return np.clip(image, 0, 1)


def noise(rng: np.random.Generator, size: Size, cell: float, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
    """Return fractal noise, float32 [H, W] in about -1..1.

    cell: size of the coarsest grains, px.  stretch: ratio of their width and height.
    """
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal((int(height / step) + 3, int(width / (step * stretch)) + 3), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total * 0.6


def sky(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return a gradient from zenith to horizon with clouds, sometimes above a line of trees."""
    tops = [(0.16, 0.36, 0.72), (0.25, 0.5, 0.85), (0.5, 0.55, 0.62), (0.3, 0.28, 0.5), (0.08, 0.2, 0.55)]
    lows = [(0.6, 0.75, 0.9), (0.7, 0.82, 0.92), (0.75, 0.76, 0.78), (0.95, 0.65, 0.45), (0.45, 0.6, 0.85)]
    which = rng.integers(len(tops))
    image = _vertical(size, tops[which], lows[which])
    clouds = np.clip(noise(rng, size, size[1] / 3, 6, 2.0) + rng.uniform(-0.9, 0.5), 0, 1)[..., None]
    image += clouds * (np.asarray([0.95, 0.95, 0.96], np.float32) - image) * 0.85
    if rng.random() < 0.45:
        _tree_line(image, rng, horizon=rng.uniform(0.7, 0.92))
    return image


def meadow(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return grass in perspective below a sky or a blurred hedge."""
    height, width = size
    image = sky(rng, size) if rng.random() < 0.5 else foliage(rng, size)
    horizon = int(height * rng.uniform(0.3, 0.65))
    rows = height - horizon
    grass = noise(rng, (rows, width), 5, 3)
    grass = 0.6 * cv2.GaussianBlur(grass, (0, 0), 0.8) + 0.5 * noise(rng, (rows, width), rows / 2, 3, 3.0)
    green = np.asarray([rng.uniform(0.25, 0.45), rng.uniform(0.42, 0.6), rng.uniform(0.12, 0.22)], np.float32)
    near = np.linspace(0.85, 1.0, rows, dtype=np.float32)[:, None, None]
    image[horizon:] = green * near * (1 + 0.32 * grass[..., None])
    edge = slice(max(0, horizon - 6), horizon + 6)
    image[edge] = cv2.GaussianBlur(image[edge], (0, 0), 2)
    return np.clip(image, 0, 1)


def foliage(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return blurred leaves with bright spots."""
    shade = np.asarray([rng.uniform(0.1, 0.3), rng.uniform(0.22, 0.4), rng.uniform(0.08, 0.18)], np.float32)
    image = shade * (0.8 + 0.45 * noise(rng, size, rng.uniform(60, 160), 5)[..., None])
    leaves = np.asarray([(0.5, 0.62, 0.25), (0.62, 0.62, 0.35), (0.75, 0.85, 0.7), (0.3, 0.45, 0.2)], np.float32)
    _discs(image, rng, leaves, count=int(rng.integers(80, 260)), height=0.35, spread=0.35)
    return cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), rng.uniform(2, 8))


def wall(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return a wall with uneven lighting, sometimes with frames, windows, bunting or a floor."""
    height, width = size
    paint = np.float32(rng.uniform(0.45, 0.95)) + rng.uniform(-0.12, 0.12, 3).astype(np.float32)
    image = np.clip(paint, 0, 1) * np.ones((*size, 3), np.float32)
    image *= (1 + 0.025 * noise(rng, size, 6, 3))[..., None]
    if rng.random() < 0.7:
        for _ in range(rng.integers(1, 4)):
            _frame(image, rng)
    if rng.random() < 0.2:
        _bunting(image, rng)
    if rng.random() < 0.6:
        top = int(height * rng.uniform(0.65, 0.9))
        image[top:] = planks(rng, (height - top, width)) if rng.random() < 0.5 else image[top:] * 0.55
        image[max(0, top - int(0.03 * height)) : top] = np.clip(paint * 1.08, 0, 1)
    y, x = np.ogrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    far = (x - rng.uniform(-0.2, 1.2)) ** 2 + (y - rng.uniform(-0.2, 0.8)) ** 2
    image *= (1.1 - rng.uniform(0.2, 0.55) * far).astype(np.float32)[..., None]
    return cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), rng.uniform(0.5, 3))


def planks(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return horizontal or vertical boards with wood grain."""
    height, width = size
    if rng.random() < 0.35:
        return np.ascontiguousarray(planks(rng, (width, height)).transpose(1, 0, 2))
    woods = [(0.55, 0.38, 0.24), (0.4, 0.27, 0.17), (0.68, 0.58, 0.45), (0.5, 0.5, 0.52), (0.35, 0.42, 0.5)]
    wood = np.asarray(woods[rng.integers(len(woods))], np.float32)
    board = max(14, int(height / rng.uniform(3, 9)))
    rows = np.arange(height)
    tone = rng.uniform(0.8, 1.12, height // board + 1).astype(np.float32)[rows // board]
    grain = noise(rng, size, 6, 3, 14.0)
    image = wood * (tone[:, None] * (1 + 0.1 * grain))[..., None]
    image[rows % board < 2] *= 0.45
    return np.clip(image, 0, 1)


def bricks(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return rows of bricks with mortar joints."""
    height, width = size
    course = rng.uniform(18, 46)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    row = np.floor(y / course)
    x = x + (row % 2) * course * 1.25
    column = np.floor(x / (course * 2.5))
    tones = rng.uniform(0.75, 1.2, (97, 89)).astype(np.float32)
    tone = tones[row.astype(int) % 97, column.astype(int) % 89]
    joint = (y - row * course < 0.12 * course) | (x - column * course * 2.5 < 0.12 * course)
    stone = np.asarray([(0.52, 0.26, 0.2), (0.45, 0.36, 0.3), (0.75, 0.74, 0.7)][rng.integers(3)], np.float32)
    image = stone * tone[..., None]
    image[joint] = np.asarray([0.62, 0.6, 0.56], np.float32) * rng.uniform(0.6, 1.1)
    image *= (1 + 0.12 * noise(rng, size, 8, 3) + 0.1 * noise(rng, size, width / 2, 2))[..., None]
    return cv2.GaussianBlur(np.clip(image, 0, 1), (0, 0), rng.uniform(0.5, 2))


def night(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Return a blurred street at night, with lights as soft discs."""
    image = _vertical(size, (0.02, 0.03, 0.07), (0.12, 0.09, 0.1))
    image += 0.02 * noise(rng, size, size[1] / 3, 4)[..., None]
    lamps = np.asarray([(1, 0.75, 0.4), (1, 0.9, 0.75), (0.9, 0.3, 0.2), (0.4, 0.6, 1)], np.float32)
    _discs(image, rng, lamps, count=int(rng.integers(12, 45)), height=0.55, spread=0.18)
    return np.clip(cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 3)), 0, 1)


def recolored(image: np.ndarray, rng: np.random.Generator, hue: float, saturation: float) -> np.ndarray:
    """Return ``image`` with a random change of hue, saturation and brightness.

    hue: largest change, degrees.  saturation: largest change, as a fraction.
    """
    hsv = cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(-hue, hue)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(1 - saturation, 1 + saturation), 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.65, 1.15), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


@lru_cache(maxsize=len(PHOTOGRAPHS))
def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def _vertical(size: Size, top: tuple[float, ...], bottom: tuple[float, ...]) -> np.ndarray:
    """Return a vertical gradient between two colors."""
    weight = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    colors = np.asarray(top, np.float32) * (1 - weight) + np.asarray(bottom, np.float32) * weight
    return colors * np.ones((*size, 1), np.float32)


def _discs(
    image: np.ndarray, rng: np.random.Generator, colors: np.ndarray, count: int, height: float, spread: float
) -> None:
    """Add ``count`` soft bright discs, normally distributed around ``height`` (0 top, 1 bottom) with ``spread``."""
    rows, columns = image.shape[:2]
    for _ in range(count):
        radius = int(rng.uniform(3, 15))
        x, y = int(rng.uniform(0, columns)), int(np.clip(rng.normal(height, spread), 0, 1) * rows)
        top, left = max(0, y - radius - 1), max(0, x - radius - 1)
        region = image[top : y + radius + 2, left : x + radius + 2]
        glow = np.zeros(region.shape, np.float32)
        color = colors[rng.integers(len(colors))] * rng.uniform(0.12, 0.5)
        cv2.circle(glow, (x - left, y - top), radius, color.tolist(), -1, cv2.LINE_AA)
        region += glow


def _tree_line(image: np.ndarray, rng: np.random.Generator, horizon: float) -> None:
    """Paint dark trees below ``horizon`` (0 top, 1 bottom)."""
    height, width = image.shape[:2]
    crowns = noise(rng, (1, width), width / 8, 6)[0]
    tops = (height * (horizon + 0.06 * crowns)).astype(np.float32)
    alpha = np.clip((np.arange(height, dtype=np.float32)[:, None] - tops[None]) / 3 + 0.5, 0, 1)[..., None]
    leaves = np.asarray([0.13, 0.2, 0.1], np.float32) * (1 + 0.35 * noise(rng, (height, width), 14, 4))[..., None]
    image += alpha * (np.clip(leaves, 0, 1) - image)


def _frame(image: np.ndarray, rng: np.random.Generator) -> None:
    """Paint a framed panel, a door or a bright window."""
    height, width = image.shape[:2]
    w, h = (rng.uniform(0.12, 0.45, 2) * (width, height)).astype(int)
    x, y = int(rng.uniform(-0.1, 0.9) * width), int(rng.uniform(-0.1, 0.5) * height)
    edge = rng.uniform(0.05, 0.9, 3).tolist() if rng.random() < 0.5 else [rng.uniform(0.1, 0.95)] * 3
    inside = [0.98, 0.99, 1.0] if rng.random() < 0.4 else rng.uniform(0.1, 0.9, 3).tolist()
    cv2.rectangle(image, (x, y), (x + int(w), y + int(h)), edge, -1)
    rim = max(3, int(w) // 14)
    cv2.rectangle(image, (x + rim, y + rim), (x + int(w) - rim, y + int(h) - rim), inside, -1)


def _bunting(image: np.ndarray, rng: np.random.Generator) -> None:
    """Paint a row of colored triangular flags: party decoration that a detector must not mistake for balloons."""
    height, width = image.shape[:2]
    size = width / rng.uniform(14, 24)
    sag, top = rng.uniform(0.05, 0.15) * height, rng.uniform(0.02, 0.2) * height
    for x in np.arange(0, width, size * 1.2):
        y = top + sag * np.sin(np.pi * x / width)
        points = np.array([[x, y], [x + size, y], [x + size / 2, y + 1.3 * size]])
        cv2.fillPoly(image, [points.astype(np.int32)], rng.uniform(0.1, 0.95, 3).tolist(), cv2.LINE_AA)


KINDS: tuple[tuple[Callable[[np.random.Generator, Size], np.ndarray], float], ...] = (
    (photograph, 0.4), (sky, 0.14), (meadow, 0.09), (foliage, 0.07),
    (wall, 0.15), (planks, 0.05), (bricks, 0.05), (night, 0.05),
)  # fmt: skip
"""(function, probability) of each kind of background."""
