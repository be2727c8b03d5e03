"""EXIF orientation: how the stored pixels of an image are rotated and mirrored to show it."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDEWAYS = (5, 6, 7, 8)
"""Orientations that swap height and width."""

_ORIENTATION_TAG = 0x0112


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return stored ``pixels`` [h, w, ...] rotated and mirrored as the EXIF ``orientation`` (1..8) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return upright ``pixels`` [h, w, ...] as a file with this EXIF ``orientation`` (1..8) stores them."""
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels


def exif_of(orientation: int) -> Image.Exif:
    """Return EXIF data that state an ``orientation`` (1..8) and nothing else."""
    exif = Image.Exif()
    exif[_ORIENTATION_TAG] = orientation
    return exif


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8; 1 (as stored) when it is missing or invalid."""
    try:
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG)  # the method of PNG images would decode all pixels
    except Exception:  # damaged EXIF raises many types of exceptions, and only the orientation is lost
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
