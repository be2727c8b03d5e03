"""What was found, as it is sent: JSON, images with it drawn on, masks."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from detect.inference.writers.json import detection_rows
from detect.media.drawing import draw
from detect.media.encoding import encode
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

MOST_ON_A_MAP = 2**16 - 1  # objects


@dataclass(frozen=True)
class Answered:
    """An image and what was found in it.

    name: as the caller calls it.  image: uint8 RGB [H, W, 3], upright.
    """

    name: str
    image: np.ndarray
    found: Detections


def as_json(pictures: Sequence[Answered], class_names: ClassNames, model: str, seconds: float) -> dict[str, Any]:
    """``{"model", "seconds", "images": [{"source", "height", "width", "detections"}]}``; an entry of images is as in
    detect_image.py's detections.json."""
    images = []
    for one in pictures:
        height, width = one.found.image_hw
        rows = detection_rows(one.found, class_names)
        images.append({"source": one.name, "height": height, "width": width, "detections": rows})
    return {"model": model, "seconds": round(seconds, 4), "images": images}


def as_image(image: Answered, class_names: ClassNames, kind: str) -> bytes:
    """With boxes, masks and labels drawn on it. kind: "PNG" or "JPEG"."""
    return encode(draw(image.image, image.found, class_names), kind)


def label_map(found: Detections) -> bytes:
    """A PNG of 16 bits: 0 where there is nothing, else 1 for the first of ``found``, 2 for the second ...; where two
    lie on each other, the better one."""
    pixels = np.zeros(found.image_hw, np.uint16)
    for i in reversed(range(min(len(found), MOST_ON_A_MAP))):
        pixels[masks.to_bitmap(_mask(found, i)) > 0] = i + 1
    return encode(pixels, "PNG")


def mask_files(found: Detections, class_names: ClassNames) -> Iterator[tuple[str, bytes]]:
    """(name, PNG) of each mask, white on black: ``001_balloon_0.98.png``, best first."""
    for i, label in enumerate(found.labels.tolist()):
        name = re.sub(r"\W+", "_", class_names.name(label))
        pixels = masks.to_bitmap(_mask(found, i)) * np.uint8(255)
        yield f"{i + 1:03}_{name}_{found.scores[i]:.2f}.png", encode(pixels, "PNG")


def zipped(files: Iterator[tuple[str, bytes]]) -> bytes:
    """A zip archive of (name, content)s, which are packed already."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return content.getvalue()


def _mask(found: Detections, index: int) -> masks.Rle:
    assert found.masks is not None  # which whoever asks for masks has seen to
    return found.masks[index]
