"""Exporter of YOLO: images/SPLIT, labels/SPLIT with one text file per image, and data.yaml with the class names.

An object with a mask becomes one polygon, an object without a mask a box. Everything is clipped to the image, since
Ultralytics ignores images with a coordinate outside 0..1.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from detect.data.exporters.annotated_images import (
    CROWDS,
    AnnotatedObject,
    annotated_images,
    as_one_polygon,
    clip_to_image,
    decimals,
    export_losses,
    lost_category_ids,
)
from detect.data.exporters.exporter import Exporter, ExportLoss, Names, Parts
from detect.data.file_listing import without_suffix
from detect.data.readers.yolo import NOT_LABELS
from detect.structures.class_names import ClassNames

_DIGITS = 8  # decimals of a fraction of the image size: 0.00004 px of 4000 px


def image_folder(split: str) -> str:
    """Return the folder of a split's images."""
    return f"images/{split}"


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Write the annotation files, see ``Exporter.write``. Crowds are skipped: YOLO would read them as one object."""
    counts = Counter(lost_category_ids(class_names))
    for image in annotated_images(parts, names):
        lines = []
        for annotated in image.objects:
            if annotated.iscrowd:
                counts[CROWDS] += 1
                continue
            line, lost = _line(annotated, image.image_hw)
            lines.append(f"{line}\n")
            counts.update(lost)
        path = folder / "labels" / image.split / f"{without_suffix(image.name)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    description = {split: image_folder(split) for split in parts} | {"names": dict(enumerate(class_names.names))}
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return export_losses(counts)


def adapt_name(name: str) -> str:
    """Return an image name whose label file readers find.

    Ultralytics replaces the last folder "images" of a path by "labels", and files such as train.txt are no labels.
    """
    path = PurePosixPath(name)
    path = PurePosixPath(*(part for part in path.parent.parts if part != "images"), path.name)
    if f"{path.stem}.txt".lower() in NOT_LABELS:
        path = path.with_name(f"{path.stem}_{path.suffix}")
    return path.as_posix()


EXPORTER = Exporter(write, image_folder, unique_stems=True, adapt_name=adapt_name)


def _line(annotated: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[str, list[str]]:
    """Return the line of an object, and what it cannot hold."""
    annotated, lost_outside = clip_to_image(annotated, image_hw)
    numbers, lost = as_one_polygon(annotated, image_hw, cut=True)
    if not numbers:
        low, high = annotated.box[:2], annotated.box[2:]
        numbers = [*((low + high) / 2).tolist(), *(high - low).tolist()]
    return " ".join([str(annotated.label - 1), *_fractions(numbers, image_hw)]), lost_outside + lost


def _fractions(numbers: list[float], image_hw: tuple[int, int]) -> list[str]:
    """Return x, y, ... in pixels as fractions of the image size, rounded so that they give at least these pixels.

    pycocotools rounds coordinates to a fifth of a pixel. Coordinates like 0.1 lie between two of its steps, and a
    number smaller by a millionth would move the vertex.
    """
    pixels, sides = np.reshape(numbers, (-1, 2)), np.array(image_hw[::-1])
    steps = np.rint(pixels / sides * 10**_DIGITS)
    steps += steps / 10**_DIGITS * sides < pixels
    return [decimals(step / 10**_DIGITS, _DIGITS) for step in steps.ravel().tolist()]
