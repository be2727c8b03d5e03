"""Encode detections for a response: JSON, annotated images, masks, and the output formats of detect_image.py."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from detect.inference.writers import FORMATS, Source
from detect.inference.writers.files import encode_files
from detect.inference.writers.json import detection_rows
from detect.inference.writers.output_names import OutputStems, image_ids
from detect.media.drawing import draw
from detect.media.encoding import encode
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

FILE_FORMATS = tuple(name for name in FORMATS if name != "json")
"""Output formats whose files are sent in a zip archive. ``json`` is a response of its own."""

MAX_INSTANCES = 2**16 - 1  # ids that fit into the 16 bits of an instance map


@dataclass(frozen=True)
class ImageResult:
    """An image and its detections.

    name: the caller's name for the image.
    image: uint8 RGB [H, W, 3], EXIF orientation applied.
    detections: in pixels of ``image``.
    """

    name: str
    image: np.ndarray
    detections: Detections


def to_json(results: Sequence[ImageResult], class_names: ClassNames, model: str, seconds: float) -> dict[str, Any]:
    """Return ``{"model", "seconds", "images": [{"source", "height", "width", "limit_reached", "detections"}]}``.

    The entries of ``images`` equal those of the file detections.json that detect_image.py writes, without
    ``annotated_file``.
    """
    images = []
    for result in results:
        height, width = result.detections.image_hw
        entry: dict[str, Any] = {"source": result.name, "height": height, "width": width}
        entry["limit_reached"] = result.detections.limit_reached
        images.append(entry | {"detections": detection_rows(result.detections, class_names)})
    return {"model": model, "seconds": round(seconds, 4), "images": images}


def annotated_image(result: ImageResult, class_names: ClassNames, kind: str) -> bytes:
    """Return the file of the image with boxes, masks and labels drawn on it. kind: ``PNG`` or ``JPEG``."""
    return encode(draw(result.image, result.detections, class_names), kind)


def instance_map(detections: Detections) -> bytes:
    """Return a 16-bit PNG with the instance of each pixel: 0 is background, 1 the detection with the highest score,
    2 the next one. Where masks overlap, the higher score wins."""
    pixels = np.zeros(detections.image_hw, np.uint16)
    for i in reversed(range(min(len(detections), MAX_INSTANCES))):
        pixels[masks.to_bitmap(_mask(detections, i)) > 0] = i + 1
    return encode(pixels, "PNG")


def mask_files(detections: Detections, class_names: ClassNames) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, PNG) of each mask, white on black, in descending order of score: ``001_balloon_0.98.png``."""
    for i, label in enumerate(detections.labels.tolist()):
        name = re.sub(r"\W+", "_", class_names.name(label))
        pixels = masks.to_bitmap(_mask(detections, i)) * np.uint8(255)
        yield f"{i + 1:03}_{name}_{detections.scores[i]:.2f}.png", encode(pixels, "PNG")


def format_files(name: str, results: Sequence[ImageResult], class_names: ClassNames) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that the output format ``name`` of detect_image.py has for ``results``."""
    names, stems = _unique_names([result.name for result in results]), OutputStems()
    sources = (
        Source(one, result.image, stem=stems.choose(one), image_id=number)
        for one, result, number in zip(names, results, image_ids(names), strict=True)
    )
    pairs = zip(sources, (result.detections for result in results), strict=True)
    yield from encode_files(name, class_names, pairs).items()


def zip_archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip archive of (name, content) pairs. It is not compressed, since images are compressed already."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return content.getvalue()


def _unique_names(names: Sequence[str]) -> list[str]:
    """Return the callers' file names without folders; those that occur twice begin with their number."""
    files = [re.split(r"[/\\]", name)[-1] or "image" for name in names]
    return [f"{i}_{name}" if files.count(name) > 1 else name for i, name in enumerate(files, 1)]


def _mask(detections: Detections, index: int) -> masks.Rle:
    assert detections.masks is not None  # callers check that the model predicts masks
    return detections.masks[index]
