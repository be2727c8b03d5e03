"""Rendered dataset "sample": scenes of balloons with random layouts, lighting and cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from detect.data.synthetic.balloons import Balloon, Highlight, Light, coverage, paint
from detect.data.synthetic.canvas import MIN_VISIBLE_FRACTION, Image, camera, visible_parts
from detect.data.synthetic.scene_backgrounds import background
from detect.structures.masks import Rle

BALLOON_ID = 1
EMPTY_EVERY = 12  # one image in this many has no balloon
SHORT_SIDE, LONG_SIDE = (320, 481), (420, 641)  # px, half-open ranges

LATEX: tuple[tuple[float, float, float], ...] = (
    (0.88, 0.08, 0.1), (0.8, 0.05, 0.16), (0.95, 0.42, 0.05), (0.98, 0.82, 0.08), (0.95, 0.9, 0.3),
    (0.55, 0.8, 0.15), (0.12, 0.62, 0.22), (0.1, 0.65, 0.6), (0.3, 0.68, 0.92), (0.1, 0.4, 0.82),
    (0.12, 0.14, 0.62), (0.42, 0.14, 0.6), (0.7, 0.55, 0.85), (0.9, 0.12, 0.5), (0.97, 0.5, 0.68),
    (0.98, 0.78, 0.82), (0.95, 0.94, 0.92), (0.85, 0.66, 0.35), (0.72, 0.73, 0.76), (0.09, 0.09, 0.1),
    (0.45, 0.05, 0.12),
)  # fmt: skip


@dataclass(frozen=True)
class Placement:
    """Position of a balloon.

    x, y: center, px.
    radius: px.
    angle: rotation, radians.
    string_to: end of the string, px; None without a string.
    """

    x: float
    y: float
    radius: float
    angle: float
    string_to: tuple[float, float] | None = None


def render_image(rng: np.random.Generator, index: int) -> Image:
    """Return image ``index`` of a split. Randomness comes from ``rng`` only."""
    short, long = int(rng.integers(*SHORT_SIDE)), int(rng.integers(*LONG_SIDE))
    size = (min(short, long), max(short, long)) if rng.random() < 0.6 else (max(short, long), min(short, long))
    canvas = background(rng, size)
    balloons: list[Balloon] = []
    light = light_for(canvas, rng)
    if index % EMPTY_EVERY != EMPTY_EVERY // 2:
        placements, _, shadow = LAYOUTS[rng.choice(len(LAYOUTS), p=[weight for _, weight, _ in LAYOUTS])]
        balloons = make_balloons(placements(rng, size), rng, shadow=shadow * rng.uniform(0.3, 1))
    return compose(canvas, balloons, light, rng)


def compose(canvas: np.ndarray, balloons: Sequence[Balloon], light: Light, rng: np.random.Generator) -> Image:
    """Return the image of ``balloons`` (back to front) on ``canvas`` (float32 RGB, changed), with its ground truth."""
    visible = [part for part in draw(canvas, balloons, light) if part is not None]
    return Image(camera(canvas, rng), visible, [BALLOON_ID] * len(visible))


def draw(
    canvas: np.ndarray, balloons: Sequence[Balloon], light: Light, min_fraction: float = MIN_VISIBLE_FRACTION
) -> list[Rle | None]:
    """Paint ``balloons`` (back to front) on ``canvas`` and return the visible mask of each, None if not painted."""
    size = canvas.shape[:2]
    patches = [coverage(b, size) for b in balloons]
    parts = visible_parts(patches, size, min_fraction)
    for balloon, patch, part in zip(balloons, patches, parts, strict=True):
        if part is not None:
            paint(canvas, balloon, light, patch)
    return parts


def light_for(canvas: np.ndarray, rng: np.random.Generator) -> Light:
    """Return a light from above that matches the background in brightness and color, with its highlights."""
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
    highlights.append(Highlight((x, y), 0.24, rng.uniform(0.1, 0.35)))  # haze around it
    highlights.append(Highlight((-x, -y), 0.15, rng.uniform(0.02, 0.16)))  # reflection inside, on the far side
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


def make_balloons(placements: Sequence[Placement], rng: np.random.Generator, shadow: float) -> list[Balloon]:
    """Return balloons at ``placements`` with a common palette and material, and small individual differences."""
    palette = [LATEX[i] for i in rng.choice(len(LATEX), size=int(rng.integers(2, 9)), replace=False)]
    opacity, pearl = rng.uniform(0.62, 1.0), rng.uniform(0.3, 1.0) if rng.random() < 0.25 else 0.0
    taper, focus = rng.uniform(0.1, 0.55), rng.uniform(0, 0.012)
    ribbon = (0.92, 0.92, 0.9) if rng.random() < 0.6 else palette[0]
    printed = bool(rng.random() < 0.18)
    balloons = []
    for placement in placements:
        stretch = rng.uniform(1.04, 1.3)
        balloon = Balloon(
            (placement.x, placement.y), placement.radius, _tinted(palette[rng.integers(len(palette))], rng),
            angle=placement.angle, stretch=stretch, taper=float(np.clip(taper + rng.normal(0, 0.08), 0.05, 0.8)),
            knot=stretch, opacity=float(np.clip(opacity + rng.normal(0, 0.05), 0.55, 1)), pearl=pearl,
            blur=min(3.0, focus * placement.radius + rng.uniform(0, 0.5)), shadow=shadow, string_color=ribbon,
        )  # fmt: skip
        if rng.random() < 0.1:
            balloon = replace(balloon, stretch=1.03, taper=0.06, knot=rng.uniform(0.3, 0.75))
        if printed and placement.radius > 18:
            balloon = replace(balloon, print_map=_print(rng))
        if placement.string_to is not None:
            balloon = replace(balloon, string=string_points(balloon.knot_xy, np.array(placement.string_to), rng))
        balloons.append(balloon)
    return balloons


def _tinted(color: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    r, g, b = np.clip(np.array(color) * rng.uniform(0.92, 1.06) + rng.normal(0, 0.02, 3), 0.03, 0.98)
    return float(r), float(g), float(b)


def string_points(start: np.ndarray, end: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return points [K, 2], px, of a slack line from ``start`` to ``end``."""
    t = np.linspace(0, 1, 40)[:, None]
    across = np.array([-(end - start)[1], (end - start)[0]])
    bend = rng.normal(0, 0.06) * np.sin(np.pi * t) + rng.normal(0, 0.025) * np.sin(rng.uniform(2, 4) * np.pi * t) * t
    return start + t * (end - start) + bend * across


def _print(rng: np.random.Generator) -> np.ndarray:
    """Return a print, float32 [h, w, 4]: dots, words or a face in one color."""
    h = w = 192
    ink = np.zeros((h, w), np.uint8)
    motif = rng.integers(3)
    if motif == 0:
        for _ in range(rng.integers(12, 30)):
            center = (int(rng.uniform(0, w)), int(rng.uniform(0.1, 0.85) * h))
            cv2.circle(ink, center, int(rng.uniform(3, 8)), 255, -1, cv2.LINE_AA)
    elif motif == 1:
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
    # Smoothed, because most balloons are smaller than their print.
    alpha = cv2.GaussianBlur(ink.astype(np.float32) / 255, (0, 0), 0.8)[..., None] * 0.9
    return np.concatenate([np.broadcast_to(color, (h, w, 3)), alpha], axis=-1)


def _bouquet(rng: np.random.Generator, size: tuple[int, int]) -> list[Placement]:
    """Return a bunch of balloons held on strings."""
    height, width = size
    count = int(rng.integers(3, 12))
    radius = min(size) * rng.uniform(0.07, 0.2)
    cx, cy = rng.uniform(0.25, 0.75) * width, rng.uniform(0.25, 0.5) * height
    hand = (cx + rng.normal(0, 0.3) * radius, cy + radius * rng.uniform(4, 6.5))
    placements = []
    for n in range(count):
        turn, far = n * 2.4 + rng.normal(0, 0.3), radius * 0.9 * np.sqrt(n) * rng.uniform(0.75, 1.15)
        x, y = cx + far * np.cos(turn), cy + 0.85 * far * np.sin(turn)
        angle = -0.8 * np.arctan2(hand[0] - x, hand[1] - y) + rng.normal(0, 0.12)
        placements.append(Placement(x, y, radius * rng.uniform(0.85, 1.15), angle, hand))
    order = rng.permutation(count)
    return [placements[i] for i in order]


def _floating(rng: np.random.Generator, size: tuple[int, int]) -> list[Placement]:
    """Return single balloons in the air, near and far."""
    height, width = size
    near = min(size) * rng.uniform(0.06, 0.2)
    placements = []
    for _ in range(rng.integers(2, 10)):
        radius = max(7.0, near * rng.uniform(0.3, 1.2))
        x, y = rng.uniform(0, 1) * width, rng.uniform(0.02, 0.85) * height
        angle = rng.normal(0, 0.22)
        end = (x + rng.normal(0, 0.8) * radius, y + radius * rng.uniform(3, 6))
        placements.append(Placement(x, y, radius, angle, end if rng.random() < 0.8 else None))
    return sorted(placements, key=lambda p: p.radius)


def _heap(rng: np.random.Generator, size: tuple[int, int]) -> list[Placement]:
    """Return balloons lying on top of each other without strings."""
    height, width = size
    radius = min(size) * rng.uniform(0.08, 0.17)
    top = rng.uniform(0.25, 0.7)
    placements = []
    for _ in range(rng.integers(6, 18)):
        x, y = rng.uniform(-0.05, 1.05) * width, rng.uniform(top, 1.03) * height
        placements.append(Placement(x, y, radius * rng.uniform(0.75, 1.25), rng.uniform(-np.pi, np.pi)))
    return sorted(placements, key=lambda p: p.y)


def _near(rng: np.random.Generator, size: tuple[int, int]) -> list[Placement]:
    """Return one to three large balloons, often cut by the image border."""
    height, width = size
    placements = []
    for n in range(rng.integers(1, 4)):
        radius = min(size) * (rng.uniform(0.2, 0.4) if n == 0 else rng.uniform(0.1, 0.25))
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.15, 0.75) * height
        end = (x + rng.normal(0, 0.3) * radius, y + 4 * radius)
        placements.append(Placement(x, y, radius, rng.normal(0, 0.3), end if rng.random() < 0.7 else None))
    return placements[::-1]


def _far_away(rng: np.random.Generator, size: tuple[int, int]) -> list[Placement]:
    """Return 6 to 16 small balloons, down to 12 px in diameter."""
    return scattered(rng, size, count=int(rng.integers(6, 17)))


def scattered(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Placement]:
    """Return ``count`` small balloons in the upper 80 % of the image."""
    height, width = size
    x, y = rng.uniform(0, width, count), rng.uniform(0.02, 0.8, count) * height
    radii = np.sort(rng.uniform(6.2, 17, count))
    return [
        Placement(x[n], y[n], radii[n], rng.normal(0, 0.25), (x[n] + rng.normal(0, 6), y[n] + 5 * radii[n]))
        for n in range(count)
    ]


# (function, probability, largest strength of the shadows 0..1) of each random arrangement of balloons.
LAYOUTS: tuple[tuple[Callable[[np.random.Generator, tuple[int, int]], list[Placement]], float, float], ...] = (
    (_bouquet, 0.28, 0.12),
    (_floating, 0.28, 0.06),
    (_heap, 0.16, 0.4),
    (_near, 0.2, 0.15),
    (_far_away, 0.08, 0.0),
)
