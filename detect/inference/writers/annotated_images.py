"""Images with their detections drawn on them."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np

from detect.media.drawing import draw
from detect.media.drawing_style import DrawingStyle
from detect.media.encoding import JPEG_MAX_SIDE
from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")  # other formats are written as .jpg, which every program can show


def write_annotated_image(
    folder: Path,
    stem: str,
    name: str,
    image: np.ndarray,
    detections: Detections,
    class_names: ClassNames,
    style: DrawingStyle | None = None,
) -> Path:
    """Draw ``detections`` on ``image`` (uint8 RGB [H, W, 3]) and return the file in ``folder`` that was written.

    The file has the name ``stem`` and the suffix of ``name``, the name of the image. A suffix that is not in
    KEPT_SUFFIXES becomes .jpg. An image with a side of more than JPEG_MAX_SIDE pixels is written as .png.
    Raises MediaError or DiskError if the file cannot be written.
    """
    suffix = PurePath(name).suffix
    if max(detections.image_hw) > JPEG_MAX_SIDE:
        suffix = ".png"
    path = folder / f"{stem}{suffix if suffix.lower() in KEPT_SUFFIXES else '.jpg'}"
    write_image(path, draw(image, detections, class_names, style))
    return path
