"""Encode detections for a response: JSON, annotated images, masks, and the output formats of detect_image.py."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from detect.inference.writers import FORMATS, JSON_FORMATS, Source
from detect.inference.writers.files import encode_files
from detect.inference.writers.output_names import OutputStems, image_ids
from detect.media.drawing import draw
from detect.media.encoding import encode
from detect.serving.errors import ImageFailure
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.detections_json import document, huggingface_rows, image_entry, roboflow_response

JSON = tuple(JSON_FORMATS.values())
"""Output formats that are JSON responses."""
FILE_FORMATS = tuple(name for name in FORMATS if name not in JSON)
"""Output formats whose files are sent in a zip archive."""
ERRORS = "errors.json"
"""File of a zip archive that lists the images that could not be processed."""

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


Results = Sequence[ImageResult | ImageFailure]


def to_json(
    results: Results, class_names: ClassNames, model: str, seconds: float | None, mask_format: str | None = None
) -> dict[str, Any]:
    """Return the document ``{"schema", "model", "seconds", "images"}``, see ``detect.structures.detections_json``.

    seconds: duration of the request; None to leave it out.

    The entries of ``images`` equal those of the file detections.json that detect_image.py writes, without
    ``annotated_file``; that of an ImageFailure has only ``source`` and ``error``.
    """
    images = (
        {"source": one.name} | image_entry(one.detections, class_names, mask_format)
        if isinstance(one, ImageResult)
        else one.entry()
        for one in results
    )
    duration = {} if seconds is None else {"seconds": round(seconds, 4)}
    return document(images, model=model, **duration)


def to_convention(format: str, results: Results, class_names: ClassNames, mask_format: str | None = None) -> Any:
    """Return ``results`` in the convention ``format``: "coco", "huggingface" or "roboflow".

    COCO results list the detections of all images. The other conventions describe one image: "huggingface" by a list
    of detections, "roboflow" by an object. For one image, the response is this list or object; for several, a list of
    them, in which an ImageFailure is ``{"error": text}``.
    """
    if format == "coco":
        files = dict(format_files("coco", results, class_names, mask_format))
        return json.loads(next(iter(files.values()), b"[]"))

    def encoded(one: ImageResult | ImageFailure) -> Any:
        if isinstance(one, ImageFailure):
            return {"error": one.problem.detail}
        if format == "huggingface":
            return huggingface_rows(one.detections, class_names)
        return roboflow_response(one.detections, class_names, mask_format)

    images = [encoded(one) for one in results]
    return images[0] if len(images) == 1 else images


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


def format_files(
    name: str, results: Results, class_names: ClassNames, mask_format: str | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files that the output format ``name`` of detect_image.py has for ``results``."""
    names, stems = _unique_names([result.name for result in results]), OutputStems()
    pairs = (
        (Source(one, result.image, stem=stems.choose(one), image_id=number), result.detections)
        for one, result, number in zip(names, results, image_ids(names), strict=True)
        if isinstance(result, ImageResult)
    )
    yield from encode_files(name, class_names, pairs, mask_format).items()


def error_files(results: Results) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the file that lists the images that could not be processed, if there are any."""
    if failed := [one.entry() for one in results if isinstance(one, ImageFailure)]:
        yield ERRORS, json.dumps(failed, indent=1, ensure_ascii=False).encode(errors="backslashreplace")


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
