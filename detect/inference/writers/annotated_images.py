"""Images with their detections drawn on them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np

from detect.io.files import fit_file_name
from detect.media.drawing import draw
from detect.media.encoding import JPEG_MAX_SIDE
from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")  # other formats are written as .jpg, which every program can show


def write_annotated_image(
    folder: Path, source: Path, image: np.ndarray, detections: Detections, class_names: ClassNames
) -> Path:
    """Draw ``detections`` on ``image`` (uint8 RGB [H, W, 3]) and return the file in ``folder`` that was written.

    The file is named after ``source``. A suffix that is not in KEPT_SUFFIXES becomes .jpg. An image with a side of
    more than JPEG_MAX_SIDE pixels is written as .png. No file is overwritten: if ``x.jpg`` exists, the name becomes
    ``x_2.jpg``, ``x_3.jpg`` ... Raises MediaError or DiskError if the file cannot be written.
    """
    suffix = source.suffix if source.suffix.lower() in KEPT_SUFFIXES else ".jpg"
    if max(detections.image_hw) > JPEG_MAX_SIDE:
        suffix = ".png"
    names = (fit_file_name(source.stem, f"{'' if n == 1 else f'_{n}'}{suffix}") for n in count(1))
    path = next(path for path in map(folder.joinpath, names) if not path.exists())
    write_image(path, draw(image, detections, class_names))
    return path
