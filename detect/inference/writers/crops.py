"""The detected objects as images of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from detect.data.exporters.file_names import unused_name
from detect.inference.writers.base import IMAGES, Part, Source, Writer
from detect.media.encoding import JPEG_MAX_SIDE, encode
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections


class CropsWriter(Writer):
    """Writes ``crops/CLASS/STEM_N.jpg``, or ``VIDEO_crops/CLASS/STEM_N.jpg`` for the frames that were detected.

    A crop is the box of a detection, extended to whole pixels. N is the position of the detection in its image, from 1
    by descending score. Crops of a PNG are PNG files.
    """

    help = "also write each detected object as an image: crops/CLASS/, VIDEO_crops/CLASS/ for videos"

    def __init__(self, class_names: ClassNames, stem: str = IMAGES, mask_format: str | None = None) -> None:
        super().__init__(class_names, stem, mask_format)
        taken: dict[str, int] = {}
        plain = (re.sub(r"\W+", "_", name).strip("_") or "_" for name in class_names.names)
        self._folders = [unused_name(name[:100], taken, False) for name in plain]

    def image_files(self, source: Source, detections: Detections) -> Iterable[Part]:
        if not source.detected:
            return
        is_png = PurePath(source.name).suffix.lower() == ".png"
        for number, (label, box) in enumerate(zip(detections.labels.tolist(), detections.boxes, strict=True), start=1):
            pixels = _crop(source.pixels, box)
            suffix = ".png" if is_png or max(pixels.shape) > JPEG_MAX_SIDE else ".jpg"
            name = f"{self.folder('crops')}/{self._folders[label - 1]}/{source.file_stem}_{number}{suffix}"
            yield Part(name, encode(pixels, "PNG" if suffix == ".png" else "JPEG"), is_file=True)


def _crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the part of ``image`` [H, W, 3] in ``box`` xyxy, at least one pixel."""
    height, width = image.shape[:2]
    left, top = (int(np.clip(np.floor(low), 0, side - 1)) for low, side in zip(box[:2], (width, height), strict=True))
    right, bottom = (max(int(np.ceil(high)), low + 1) for high, low in zip(box[2:], (left, top), strict=True))
    return np.ascontiguousarray(image[top:bottom, left:right])
