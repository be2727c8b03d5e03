"""Colors of classes: different for every reader, and text on them that can be read."""

from __future__ import annotations

import numpy as np
import pytest

from detect.media.palette import BLACK, WHITE, color, contrasting, rim

# Machado et al.: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009), severity 1.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(rgb) -> np.ndarray:
    scaled = np.asarray(rgb) / 255
    return np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray, vision: str) -> np.ndarray:
    """Return CIELAB coordinates as a reader with this vision sees them."""
    seen = np.clip(linear(rgb) @ np.array(VISION[vision]).T, 0, 1) @ XYZ.T / [0.9505, 1, 1.089]
    x, y, z = np.where(seen > 0.008856, np.cbrt(seen), 7.787 * seen + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def distances(count: int, vision: str) -> np.ndarray:
    colors = lab(np.array([color(i) for i in range(count)]), vision)
    return np.linalg.norm(colors[:, None] - colors, axis=2) + 1000 * np.eye(count)


def contrast(a, b) -> float:
    low, high = sorted(float(linear(rgb) @ XYZ[1]) for rgb in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
def test_readers_with_any_vision_tell_colors_apart(vision):
    assert distances(7, vision).min() > 16  # ten classes and more are rare in one image
    assert distances(20, vision).min() > 9
    assert distances(80, vision).min() > 5.5


@pytest.mark.parametrize("vision", VISION)
def test_classes_that_stand_together_in_a_list_differ_clearly(vision):
    apart = distances(80, vision)
    assert min(apart[i, j] for i in range(80) for j in range(i + 1, min(i + 8, 80))) > 8


def test_the_palette_is_endless_and_its_first_colors_are_unique():
    assert len({color(i) for i in range(240)}) == 240
    assert all(0 <= c <= 255 for c in color(123_456))


def test_text_on_a_color_has_the_higher_contrast_of_black_and_white():
    for i in range(240):
        text = contrasting(color(i))
        assert contrast(text, color(i)) == max(contrast(BLACK, color(i)), contrast(WHITE, color(i))) > 4.5
        assert contrast(rim(color(i)), color(i)) > 1.5
