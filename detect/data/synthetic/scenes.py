"""Scenes with balloons: how many, where, how large, under which light, and the image with its ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from detect.data.synthetic.backgrounds import background
from detect.data.synthetic.balloons import Balloon, Highlight, Light, coverage, paint
from detect.data.synthetic.canvas import LEAST_SHARE, Image, camera, visible_parts
from detect.structures.masks import Rle

BALLOON_ID = 1
EMPTY_EVERY = 12  # one image in so many shows no balloon
SHORT_SIDE, LONG_SIDE = (320, 481), (420, 641)  # px, half-open ranges

LATEX: tuple[tuple[float, float, float], ...] = (
    (0.88, 0.08, 0.1), (0.8, 0.05, 0.16), (0.95, 0.42, 0.05), (0.98, 0.82, 0.08), (0.95, 0.9, 0.3),
    (0.55, 0.8, 0.15), (0.12, 0.62, 0.22), (0.1, 0.65, 0.6), (0.3, 0.68, 0.92), (0.1, 0.4, 0.82),
    (0.12, 0.14, 0.62), (0.42, 0.14, 0.6), (0.7, 0.55, 0.85), (0.9, 0.12, 0.5), (0.97, 0.5, 0.68),
    (0.98, 0.78, 0.82), (0.95, 0.94, 0.92), (0.85, 0.66, 0.35), (0.72, 0.73, 0.76), (0.09, 0.09, 0.1),
    (0.45, 0.05, 0.12),
)  # fmt: skip


@dataclass(frozen=True)
class Location:
    """Where a balloon hangs: centre and radius in px, its tilt, and where its string, if any, ends."""

    x: float
    y: float
    radius: float
    angle: float
    string_to: tuple[float, float] | None = None


def image_of(rng: np.random.Generator, index: int) -> Image:
    """The ``index``-th image of a split: a background, balloons, a camera. Draws from ``rng`` only."""
    short, long = int(rng.integers(*SHORT_SIDE)), int(rng.integers(*LONG_SIDE))
    size = (min(short, long), max(short, long)) if rng.random() < 0.6 else (max(short, long), min(short, long))
    canvas = background(rng, size)
    balloons: list[Balloon] = []
    light = light_for(canvas, rng)
    if index % EMPTY_EVERY != EMPTY_EVERY // 2:
        layout = LAYOUTS[rng.choice(len(LAYOUTS), p=[entry.weight for entry in LAYOUTS])]
        balloons = dressed(layout.places(rng, size), rng, shadow=layout.shadow * rng.uniform(0.3, 1))
    return compose(canvas, balloons, light, rng)


def compose(canvas: np.ndarray, balloons: Sequence[Balloon], light: Light, rng: np.random.Generator) -> Image:
    """A photograph of ``balloons`` (back to front) on ``canvas`` (float32 RGB, changed in place)."""
    seen = [part for part in draw(canvas, balloons, light) if part is not None]
    return Image(camera(canvas, rng), seen, [BALLOON_ID] * len(seen))


def draw(
    canvas: np.ndarray, balloons: Sequence[Balloon], light: Light, least_share: float = LEAST_SHARE
) -> list[Rle | None]:
    """Paint ``balloons`` (back to front) on ``canvas``; returns what is seen of each, None if left out."""
    size = canvas.shape[:2]
    patches = [coverage(b, size) for b in balloons]
    parts = visible_parts(patches, size, least_share)
    for balloon, patch, part in zip(balloons, patches, parts, strict=True):
        if part is not None:
            paint(canvas, balloon, light, patch)
    return parts


def light_for(canvas: np.ndarray, rng: np.random.Generator) -> Light:
    """A light from above that suits the background in brightness and color, with its mirror images."""
    height = len(canvas)
    above = canvas[: height // 2].mean(axis=(0, 1))
    below = canvas[height // 2 :].mean(axis=(0, 1))
    level = float(np.clip(0.75 + 0.55 * canvas.mean(), 0.8, 1.1))
    tilt, height_angle = rng.uniform(-1.1, 1.1), rng.uniform(0.35, 1.0)
    direction = np.array([np.sin(tilt) * np.cos(height_angle), -np.sin(height_angle), 0.0])
    direction[2] = np.sqrt(max(0.05, 1 - direction @ direction)) + 0.35
    direction /= np.linalg.norm(direction)
    window = bool(rng.random() < 0.25)
    halfway = direction + np.array([0.0, 0.0, 1.0])  # the normal that mirrors the light into the camera
    x, y, _ = (float(v) for v in halfway / np.linalg.norm(halfway))
    size = rng.uniform(0.09, 0.18) if window else rng.uniform(0.025, 0.08)
    highlights = [Highlight((x, y), size, rng.uniform(0.55, 0.95), window)]
    highlights.append(Highlight((x, y), 0.24, rng.uniform(0.1, 0.35)))  # the haze around it
    highlights.append(Highlight((-x, -y), 0.15, rng.uniform(0.02, 0.16)))  # mirrored by the far side, from within
    if rng.random() < 0.5:
        highlights.append(Highlight((rng.uniform(-0.6, 0.6), rng.uniform(-0.5, 0.3)), 0.03, rng.uniform(0.3, 0.8)))
    return Light(
        direction=direction,
        key=level * rng.uniform(0.6, 0.8),
        back=rng.uniform(0.1, 0.6) * float(canvas.mean()),
        sky=(level * (0.3 + 0.28 * above)).astype(np.float32),
        ground=(level * (0.22 + 0.24 * below)).astype(np.float32),
        highlights=tuple(highlights),
    )


def dressed(places: Sequence[Location], rng: np.random.Generator, shadow: float) -> list[Balloon]:
    """Balloons at ``places``: one party's colors and make, with the differences of single ones."""
    palette = [LATEX[i] for i in rng.choice(len(LATEX), size=int(rng.integers(2, 9)), replace=False)]
    opacity, pearl = rng.uniform(0.62, 1.0), rng.uniform(0.3, 1.0) if rng.random() < 0.25 else 0.0
    taper, focus = rng.uniform(0.1, 0.55), rng.uniform(0, 0.012)
    ribbon = (0.92, 0.92, 0.9) if rng.random() < 0.6 else palette[0]
    printed = bool(rng.random() < 0.18)
    balloons = []
    for place in places:
        stretch = rng.uniform(1.04, 1.3)
        balloon = Balloon(
            (place.x, place.y), place.radius, _tinted(palette[rng.integers(len(palette))], rng),
            angle=place.angle, stretch=stretch, taper=float(np.clip(taper + rng.normal(0, 0.08), 0.05, 0.8)),
            knot=stretch, opacity=float(np.clip(opacity + rng.normal(0, 0.05), 0.55, 1)), pearl=pearl,
            blur=min(3.0, focus * place.radius + rng.uniform(0, 0.5)), shadow=shadow, string_color=ribbon,
        )  # fmt: skip
        if rng.random() < 0.1:
            balloon = replace(balloon, stretch=1.03, taper=0.06, knot=rng.uniform(0.3, 0.75))
        if printed and place.radius > 18:
            balloon = replace(balloon, print_map=_print(rng))
        if place.string_to is not None:
            balloon = replace(balloon, string=hanging(balloon.knot_xy, np.array(place.string_to), rng))
        balloons.append(balloon)
    return balloons


def _tinted(color: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    r, g, b = np.clip(np.array(color) * rng.uniform(0.92, 1.06) + rng.normal(0, 0.02, 3), 0.03, 0.98)
    return float(r), float(g), float(b)


def hanging(start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A slack line from ``start`` to ``end``, [K, 2] px."""
    t = np.linspace(0, 1, 40)[:, None]
    across = np.array([-(end - start)[1], (end - start)[0]])
    bend = rng.normal(0, 0.06) * np.sin(np.pi * t) + rng.normal(0, 0.025) * np.sin(rng.uniform(2, 4) * np.pi * t) * t
    return start + t * (end - start) + bend * across


def _print(rng: np.random.Generator) -> np.ndarray:
    """What a balloon may carry, float32 [h, w, 4]: dots, words or a face in one color."""
    h = w = 192
    ink = np.zeros((h, w), np.uint8)
    what = rng.integers(3)
    if what == 0:
        for _ in range(rng.integers(12, 30)):
            centre = (int(rng.uniform(0, w)), int(rng.uniform(0.1, 0.85) * h))
            cv2.circle(ink, centre, int(rng.uniform(3, 8)), 255, -1, cv2.LINE_AA)
    elif what == 1:
        for line, word in enumerate([("HAPPY", "DAY"), ("PARTY", "TIME"), ("HELLO", "2 U")][rng.integers(3)]):
            scale = 1.1 if len(word) > 4 else 1.3
            width = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, 3)[0][0]
            origin = ((w - width) // 2, 84 + 42 * line)
            cv2.putText(ink, word, origin, cv2.FONT_HERSHEY_DUPLEX, scale, 255, 3, cv2.LINE_AA)
    else:
        for x in (76, 116):
            cv2.ellipse(ink, (x, 76), (6, 13), 0, 0, 360, 255, -1, cv2.LINE_AA)
        cv2.ellipse(ink, (96, 98), (42, 34), 0, 15, 165, 255, 4, cv2.LINE_AA)
    color = np.asarray([0.95, 0.95, 0.95] if rng.random() < 0.6 else [0.06, 0.06, 0.08], np.float32)
    # Smoothed, because most balloons are seen smaller than their print.
    alpha = cv2.GaussianBlur(ink.astype(np.float32) / 255, (0, 0), 0.8)[..., None] * 0.9
    return np.concatenate([np.broadcast_to(color, (h, w, 3)), alpha], axis=-1)


def _bouquet(rng: np.random.Generator, size: tuple[int, int]) -> list[Location]:
    """A bunch on strings that one hand holds."""
    height, width = size
    count = int(rng.integers(3, 12))
    radius = min(size) * rng.uniform(0.07, 0.2)
    cx, cy = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.5) * height
    hand = (cx + rng.normal(0, 0.3) * radius, cy + radius * rng.uniform(4, 6.5))
    places = []
    for n in range(count):
        turn, far = n * 2.4 + rng.normal(0, 0.3), radius * 0.9 * np.sqrt(n) * rng.uniform(0.75, 1.15)
        x, y = cx + far * np.cos(turn), cy + 0.85 * far * np.sin(turn)
        angle = -0.8 * np.arctan2(hand[0] - x, hand[1] - y) + rng.normal(0, 0.12)
        places.append(Location(x, y, radius * rng.uniform(0.85, 1.15), angle, hand))
    order = rng.permutation(count)
    return [places[i] for i in order]


def _floating(rng: np.random.Generator, size: tuple[int, int]) -> list[Location]:
    """Let go: spread over the image, near and far."""
    height, width = size
    near = min(size) * rng.uniform(0.06, 0.2)
    places = []
    for _ in range(rng.integers(2, 10)):
        radius = max(7.0, near * rng.uniform(0.3, 1.2))
        x, y = rng.uniform(0, 1) * width, rng.uniform(0.02, 0.85) * height
        angle = rng.normal(0, 0.22)
        end = (x + rng.normal(0, 0.8) * radius, y + radius * rng.uniform(3, 6))
        places.append(Location(x, y, radius, angle, end if rng.random() < 0.8 else None))
    return sorted(places, key=lambda p: p.radius)


def _heap(rng: np.random.Generator, size: tuple[int, int]) -> list[Location]:
    """Lying about, tied but loose, one over the other."""
    height, width = size
    radius = min(size) * rng.uniform(0.08, 0.17)
    top = rng.uniform(0.25, 0.7)
    places = []
    for _ in range(rng.integers(6, 18)):
        x, y = rng.uniform(-0.05, 1.05) * width, rng.uniform(top, 1.03) * height
        places.append(Location(x, y, radius * rng.uniform(0.75, 1.25), rng.uniform(-np.pi, np.pi)))
    return sorted(places, key=lambda p: p.y)


def _near(rng: np.random.Generator, size: tuple[int, int]) -> list[Location]:
    """One to three close to the camera, up to half the image, often cut by its edge."""
    height, width = size
    places = []
    for n in range(rng.integers(1, 4)):
        radius = min(size) * (rng.uniform(0.2, 0.4) if n == 0 else rng.uniform(0.1, 0.25))
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.75) * height
        end = (x + rng.normal(0, 0.3) * radius, y + 4 * radius)
        places.append(Location(x, y, radius, rng.normal(0, 0.3), end if rng.random() < 0.7 else None))
    return places[::-1]


def _far_away(rng: np.random.Generator, size: tuple[int, int]) -> list[Location]:
    """A handful of small ones, down to 12 px across."""
    return scattered(rng, size, count=int(rng.integers(6, 17)))


def scattered(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Location]:
    """``count`` small balloons over the upper four fifths of the image."""
    height, width = size
    x, y = rng.uniform(0, width, count), rng.uniform(0.02, 0.8, count) * height
    radii = np.sort(rng.uniform(6.2, 17, count))
    return [
        Location(x[n], y[n], radii[n], rng.normal(0, 0.25), (x[n] + rng.normal(0, 6), y[n] + 5 * radii[n]))
        for n in range(count)
    ]


@dataclass(frozen=True)
class Layout:
    """A way to place balloons, how often it is taken, and how dark a shadow its balloons cast at most."""

    places: Callable[[np.random.Generator, tuple[int, int]], list[Location]]
    weight: float
    shadow: float


LAYOUTS = (
    Layout(_bouquet, 0.28, 0.12),
    Layout(_floating, 0.28, 0.06),
    Layout(_heap, 0.16, 0.4),
    Layout(_near, 0.2, 0.15),
    Layout(_far_away, 0.08, 0.0),
)
