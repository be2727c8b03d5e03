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


class AnnotatedImageWriter:
    """Writes one annotated image per source to a folder, under the file name of the source.

    No file is overwritten: if ``x.jpg`` exists, whether from another source or not, the name becomes ``x_2.jpg``,
    ``x_3.jpg`` ...
    """

    def __init__(self, folder: Path, class_names: ClassNames) -> None:
        self.folder = folder
        self.class_names = class_names

    def write(self, source: Path, image: np.ndarray, detections: Detections) -> Path:
        """Draw ``detections`` on ``image`` (uint8 RGB [H, W, 3]) and return the file that was written.

        Raises MediaError or DiskError if it cannot be written.
        """
        path = self._unused_path(source, max(detections.image_hw))
        write_image(path, draw(image, detections, self.class_names))
        return path

    def _unused_path(self, source: Path, long_side: int) -> Path:
        suffix = source.suffix if source.suffix.lower() in KEPT_SUFFIXES else ".jpg"
        if long_side > JPEG_MAX_SIDE:
            suffix = ".png"
        names = (fit_file_name(source.stem, f"{'' if n == 1 else f'_{n}'}{suffix}") for n in count(1))
        return next(path for path in map(self.folder.joinpath, names) if not path.exists())
