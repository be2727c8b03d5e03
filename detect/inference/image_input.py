"""Converts every kind of image that a predictor accepts to a uint8 RGB array."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from detect.errors import UsageError
from detect.io.downloads import fetch
from detect.io.files import new_temporary_folder
from detect.io.links import is_link
from detect.media import color
from detect.media.color import check_rgb_array
from detect.media.image_paths import shown
from detect.media.images import read_image
from detect.media.orientation import orientation_of, upright
from detect.progress import warn
from detect.text import type_in_words

ImageInput = str | Path | Image.Image | np.ndarray | Tensor

ACCEPTED = "a path, a URL, a PIL image, a uint8 RGB array [H, W, 3] or a tensor [3, H, W]"


def to_rgb_array(image: ImageInput) -> np.ndarray:
    """Return ``image`` as a C-contiguous uint8 RGB array [H, W, 3], with its EXIF orientation applied.

    image: a path or a URL of an image file; a PIL image of any mode; a uint8 RGB array [H, W, 3]; or an RGB tensor
        [3, H, W], uint8 in 0..255 or floating point in 0..1.

    A truncated JPEG is used as far as it can be decoded, with a warning; the missing rows are gray.
    Raises TypeError for any other type, UsageError for an array or tensor of another dtype, shape or range, MediaError
    for a file that is not a readable image, and FetchError for a URL that cannot be downloaded.
    """
    if isinstance(image, str | Path):
        return _from_url(image) if isinstance(image, str) and is_link(image) else _from_file(Path(image))
    if isinstance(image, Image.Image):
        image = _from_pil(image)
    elif isinstance(image, Tensor):
        image = _from_tensor(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image must be {ACCEPTED}, not {type_in_words(image)}")
    check_rgb_array(image)
    return np.require(image, requirements=["C", "W"])  # torch warns of read-only arrays and refuses negative strides


def warn_truncated(path: Path) -> None:
    """Warn that only a part of an image was decoded."""
    warn(f"{shown(path)} is truncated; its missing rows are gray")


def _from_file(path: Path) -> np.ndarray:
    return read_image(path, on_truncated=partial(warn_truncated, path))


def _from_url(url: str) -> np.ndarray:
    with new_temporary_folder("image") as folder:
        return read_image(fetch(url, folder, sha256=""))


def _from_pil(image: Image.Image) -> np.ndarray:
    image.load()
    return upright(color.to_rgb(image), orientation_of(image))


def _from_tensor(image: Tensor) -> np.ndarray:
    described = f"{str(image.dtype).removeprefix('torch.')} {list(image.shape)}"
    if image.ndim != 3 or image.shape[0] != 3 or not (image.dtype == torch.uint8 or image.is_floating_point()):
        raise UsageError(
            f"an image tensor must be uint8 in 0..255 or floating point in 0..1, RGB [3, H, W], not {described}"
        )
    image = image.detach().cpu()
    if image.is_floating_point():
        # Written as "not inside the range" because every comparison with NaN is false.
        if image.numel() and not (image.min() >= 0 and image.max() <= 1):
            raise UsageError(
                f"the values of a floating-point image tensor must lie in 0..1, not in "
                f"{float(image.min()):g}..{float(image.max()):g}; do not normalize it, the model does"
            )
        image = (image.float() * 255).round().to(torch.uint8)
    return image.permute(1, 2, 0).numpy()
