"""Rendering of balloons: surfaces of revolution of translucent, glossy latex with a knot and a string.

Colors are float32 RGB in 0..1, display-referred (not linear light). Angles are radians. Lengths along and across the
axis of a balloon are multiples of its radius. In the image, x points right, y down and z towards the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from detect.data.synthetic.canvas import Patch, patch_of

_TABLE = 2048  # samples of the profile; more than any balloon has pixels


@dataclass(frozen=True)
class Highlight:
    """Specular reflection of a light.

    normal_xy: xy of the surface normal at its center, -1..1.
    size: size in the same units.
    strength: 0..1.
    window: whether it is a rectangle with a crossbar; otherwise it is a soft round spot.
    """

    normal_xy: tuple[float, float]
    size: float
    strength: float
    window: bool = False


@dataclass(frozen=True)
class Light:
    """Lighting of a scene.

    direction: unit vector [3] towards the main light.
    key: brightness of the main light.
    back: brightness of the light from behind.
    sky, ground: ambient color from above and below, [3].
    highlights: reflections on every balloon.
    """

    direction: np.ndarray
    key: float
    back: float
    sky: np.ndarray
    ground: np.ndarray
    highlights: tuple[Highlight, ...]


@dataclass(frozen=True)
class Balloon:
    """One balloon.

    center_xy: center of the body, px.
    radius: half of the width of the body, px.
    color: RGB, 0..1.
    angle: rotation, radians; the knot points down at 0 and right at -pi/2.
    stretch: length of the body divided by its width.
    taper: 0 for a sphere, 1 for a drop.
    knot: distance of the knot from the center along the axis, in multiples of the radius. It equals ``stretch`` when
        the knot is at the end of the body, and is smaller when the knot is turned towards the viewer.
    opacity: 1 is opaque.
    pearl: 0 for latex, 1 for mother-of-pearl.
    blur: sigma of the Gaussian blur, px.
    shadow: strength of the shadow on the background, 0..1.
    print_map: print on the front half, float32 [h, w, 4] (color and alpha), or None.
    string: points of the string [K, 2], px, or None.
    string_color: RGB, 0..1.
    """

    center_xy: tuple[float, float]
    radius: float
    color: tuple[float, float, float]
    angle: float = 0.0
    stretch: float = 1.15
    taper: float = 0.3
    knot: float = 1.15
    opacity: float = 0.9
    pearl: float = 0.0
    blur: float = 0.0
    shadow: float = 0.15
    print_map: np.ndarray | None = field(default=None, compare=False)
    string: np.ndarray | None = field(default=None, compare=False)
    string_color: tuple[float, float, float] = (0.9, 0.9, 0.9)

    def to_image(self, across_along: np.ndarray) -> np.ndarray:
        """Return points [K, 2], given across and along the axis, in image pixels."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        rotation = np.array([[cos, sin], [-sin, cos]])
        return across_along @ rotation * self.radius + self.center_xy

    @property
    def knot_xy(self) -> np.ndarray:
        """Start of the string, [2] px."""
        return self.to_image(np.array([[0.0, self.knot + 0.06]]))[0]


def profile(balloon: Balloon, points: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Return P positions along the axis from top to knot, and the half width of the body at each, both [P]."""
    theta = np.linspace(0, np.pi, points)
    half = np.sin(theta) * np.cos(theta / 2) ** balloon.taper
    return -np.cos(theta) * balloon.stretch, half / half.max()


def coverage(balloon: Balloon, image_hw: tuple[int, int]) -> Patch:
    """Return the coverage of the image by the body and the knot, without the string."""
    along, half = profile(balloon)
    body = np.concatenate([np.stack([half, along], 1), np.stack([-half, along], 1)[::-1]])
    return patch_of([balloon.to_image(p) for p in (body, _knot(balloon))], image_hw, balloon.blur)


def paint(canvas: np.ndarray, balloon: Balloon, light: Light, patch: Patch) -> None:
    """Paint a balloon onto ``canvas``, float32 RGB [H, W, 3], in place. patch: its ``coverage``."""
    if balloon.shadow > 0:
        _cast_shadow(canvas, balloon, light, patch)
    patch.paint(canvas, _shade(balloon, light, patch, behind=canvas[patch.window]))
    _paint_knot(canvas, balloon, light)
    if balloon.string is not None:
        _paint_string(canvas, balloon)


def _knot(balloon: Balloon) -> np.ndarray:
    """Return the contour of the neck and its rolled lip, [K, 2] across and along."""
    right = np.array([[0.045, -0.03], [0.03, 0.035], [0.055, 0.06], [0.085, 0.1], [0.075, 0.125], [0.0, 0.135]])
    left = right[-2::-1] * (-1, 1)
    return np.concatenate([right, left]) + np.array([0.0, balloon.knot])


def _normals(balloon: Balloon, patch: Patch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit normals [h, w, 3] in image coordinates, and the across and along coordinate of each pixel."""
    (x0, y0), (h, w) = patch.corner_xy, patch.alpha.shape
    dx = ((np.arange(w) + 0.5 + x0 - balloon.center_xy[0]) / balloon.radius).astype(np.float32)[None, :]
    dy = ((np.arange(h) + 0.5 + y0 - balloon.center_xy[1]) / balloon.radius).astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(balloon.angle)), np.float32(np.sin(balloon.angle))
    across, along = dx * cos + dy * sin, dy * cos - dx * sin
    along_axis, half = profile(balloon)
    even = np.linspace(-balloon.stretch, balloon.stretch, _TABLE)
    half = np.interp(even, along_axis, half)
    slope = np.clip(np.gradient(half, even), -8, 8)
    index = np.clip((along / balloon.stretch + 1) * (_TABLE / 2), 0, _TABLE - 1).astype(np.int32)
    n_across = np.clip(across / np.maximum(half.astype(np.float32)[index], 1e-3), -1, 1)
    n_z = np.sqrt(1 - n_across * n_across)
    n_along = -slope.astype(np.float32)[index]
    normals = np.stack([n_across * cos - n_along * sin, n_across * sin + n_along * cos, n_z], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals, across, along


def _shade(balloon: Balloon, light: Light, patch: Patch, behind: np.ndarray) -> np.ndarray:
    """Return the color of the body [h, w, 3]. behind: pixels behind it, of which a part shines through."""
    normals, across, along = _normals(balloon, patch)
    facing = normals[..., 2]
    rim = 1 - facing
    to_light = normals @ light.direction.astype(np.float32)
    # Latex is thicker at the crown and near the knot, and oblique rays pass more of it: there the color is darker and
    # more saturated.
    crown = np.exp(-((along + balloon.stretch) ** 2 + across**2) / 0.02)
    tied = np.exp(-((along - balloon.knot) ** 2 + across**2) / 0.04)
    depth = 1 + 0.9 * rim**2 + 0.6 * crown + 0.9 * tied
    color = np.asarray(balloon.color, np.float32) ** depth[..., None]
    if balloon.print_map is not None:
        color = _printed(balloon.print_map, across, along / balloon.stretch, color)
    up = (0.5 - 0.5 * normals[..., 1])[..., None]
    ambient = light.ground + (light.sky - light.ground) * up
    diffuse = np.clip((to_light + 0.45) / 1.45, 0, 1)
    through = light.back * (1.2 - balloon.opacity) * (1.0 + np.clip(0.3 - to_light, 0, 1))
    lit = color * (ambient + (light.key * (diffuse + through) * (1 - 0.2 * rim * rim))[..., None])
    if balloon.opacity < 1:
        opacity = (balloon.opacity + (1 - balloon.opacity) * rim**2)[..., None]
        seen_through = cv2.GaussianBlur(behind, (0, 0), 0.5 + 0.04 * balloon.radius) * color**0.8
        lit = lit * opacity + seen_through * (1 - opacity)
    fresnel = (0.5 * rim**4)[..., None]
    lit = lit + fresnel * (ambient * 0.8 - lit * 0.3)
    shine = np.zeros_like(facing)
    for spot in light.highlights:
        shine = np.maximum(shine, spot.strength * _spot(spot, normals))
    if balloon.pearl:
        lit = lit * (1 - 0.15 * balloon.pearl) + balloon.pearl * 0.45 * (facing**3 * diffuse)[..., None]
    lit = np.clip(lit, 0, 1)
    return 1 - (1 - lit) * (1 - shine[..., None])


def _spot(spot: Highlight, normals: np.ndarray) -> np.ndarray:
    """Return the brightness of a highlight, [h, w] in 0..1. normals: of the surface, [h, w, 3]."""
    dx, dy = normals[..., 0] - spot.normal_xy[0], normals[..., 1] - spot.normal_xy[1]
    if not spot.window:
        return np.exp(-(dx * dx + dy * dy) / (2 * spot.size**2))
    soft = 0.3 * spot.size
    inside = np.minimum(spot.size - np.abs(dx), 1.4 * spot.size - np.abs(dy)) / soft
    bar = np.abs(dx) / soft + 0.4
    return np.clip(np.minimum(inside, bar), 0, 1)


def _printed(print_map: np.ndarray, across: np.ndarray, along: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Return ``color`` with the print wrapped around the front half of the body."""
    h, w = print_map.shape[:2]
    longitude = np.arcsin(np.clip(across / np.sqrt(np.clip(1 - along * along, 0.05, 1)), -1, 1)) / np.pi + 0.5
    latitude = np.arcsin(np.clip(along, -1, 1)) / np.pi + 0.5
    x, y = (longitude * w - 0.5).astype(np.float32), (latitude * h - 0.5).astype(np.float32)
    ink = cv2.remap(print_map, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return color + ink[..., 3:] * (ink[..., :3] - color)


def _cast_shadow(canvas: np.ndarray, balloon: Balloon, light: Light, patch: Patch) -> None:
    """Darken the background on the side away from the light."""
    spread = max(1.0, 0.16 * balloon.radius)
    shift = np.round(-0.3 * balloon.radius * light.direction[:2]).astype(int)
    margin = int(3 * spread)
    alpha = cv2.copyMakeBorder(patch.alpha, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    alpha = cv2.blur(cv2.blur(alpha, (2 * int(spread) + 1,) * 2), (2 * int(spread) + 1,) * 2)
    x, y = patch.corner_xy[0] - margin + shift[0], patch.corner_xy[1] - margin + shift[1]
    left, top = max(0, -x), max(0, -y)
    target = canvas[max(y, 0) : max(y + alpha.shape[0], 0), max(x, 0) : max(x + alpha.shape[1], 0)]
    target *= 1 - balloon.shadow * alpha[top : top + target.shape[0], left : left + target.shape[1], None]


def _paint_knot(canvas: np.ndarray, balloon: Balloon, light: Light) -> None:
    """Paint the knot: thick latex, dark and saturated, brighter towards the light."""
    patch = patch_of([balloon.to_image(_knot(balloon))], canvas.shape[:2], balloon.blur)
    if not patch.alpha.size:
        return
    across = np.linspace(-1, 1, patch.alpha.shape[1], dtype=np.float32)[None, :, None]
    deep = np.asarray(balloon.color, np.float32) ** 1.4 * (light.key * 0.6 + light.ground)
    patch.paint(canvas, np.clip(deep * (0.85 + 0.3 * across * np.float32(light.direction[0])), 0, 1))


def _paint_string(canvas: np.ndarray, balloon: Balloon) -> None:
    """Paint a thin ribbon along ``balloon.string``."""
    points = np.asarray(balloon.string)
    width = max(0.5, 0.014 * balloon.radius)
    x0, y0 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 3, 0)
    x1, y1 = np.minimum(np.ceil(points.max(axis=0)).astype(int) + 3, canvas.shape[1::-1])
    if x1 <= x0 or y1 <= y0:
        return
    ink = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fixed = np.round((points - (x0, y0) - 0.5) * 16).astype(np.int32)
    cv2.polylines(ink, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, shift=4)
    alpha = cv2.GaussianBlur(ink.astype(np.float32) / 255, (0, 0), 0.4 + balloon.blur) * min(1.0, width + 0.2)
    region = canvas[y0:y1, x0:x1]
    region += alpha[..., None] * (np.asarray(balloon.string_color, np.float32) - region)
