"""Images with their detections drawn on them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np

from detect.io.files import fit_file_name
from detect.media.drawing import draw
from detect.media.encoding import JPEG_MOST_SIDE
from detect.media.images import write_image
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

KEPT_SUFFIXES = (".jpg", ".jpeg", ".png")  # every other format becomes .jpg, which everything shows


class ImageWriter:
    """One annotated image in ``folder`` for each source, under the source's own name.

    A name that is taken, by another source or by any file there, becomes ``x_2.jpg``, ``x_3.jpg`` ...
    """

    def __init__(self, folder: Path, class_names: ClassNames) -> None:
        self.folder = folder
        self.class_names = class_names

    def write(self, source: Path, image: np.ndarray, detections: Detections) -> Path:
        """Draw and write; returns the file. Raises MediaError where it cannot be written."""
        path = self._free(source, max(detections.image_hw))
        write_image(path, draw(image, detections, self.class_names))
        return path

    def close(self) -> None:
        """Nothing is left to do: each image is finished when written."""

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _free(self, source: Path, longest: int) -> Path:
        suffix = source.suffix if source.suffix.lower() in KEPT_SUFFIXES else ".jpg"
        if longest > JPEG_MOST_SIDE:
            suffix = ".png"
        names = (fit_file_name(source.stem, f"{'' if n == 1 else f'_{n}'}{suffix}") for n in count(1))
        return next(path for path in map(self.folder.joinpath, names) if not path.exists())
