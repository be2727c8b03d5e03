"""YOLO: images/SPLIT, labels/SPLIT with a text file an image, and data.yaml, which names the classes from 0.

An object with a mask is one polygon, one without a box. Ultralytics passes over every image with a number outside
0..1, so all is cut at the edges of the image.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from detect.data.exporters import annotated_images
from detect.data.exporters.annotated_images import (
    AnnotatedObject,
    ExportLoss,
    Names,
    Parts,
    as_one_polygon,
    decimals,
    inside,
)
from detect.data.readers.folders import stem
from detect.data.readers.yolo import NO_LABELS
from detect.structures.class_names import ClassNames

_DIGITS = 8  # of a part of the image: 0.00004 px of 4000


def images(split: str) -> str:
    return f"images/{split}"


def fitting(name: str) -> str:
    """A name that readers find: Ultralytics puts "labels" for the last folder "images" of a path, and a train.txt
    among the labels is taken for none."""
    path = PurePosixPath(name)
    path = PurePosixPath(*(part for part in path.parent.parts if part != "images"), path.name)
    if f"{path.stem}.txt".lower() in NO_LABELS:
        path = path.with_name(f"{path.stem}_{path.suffix}")
    return path.as_posix()


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Crowds are left out: the format would have them be single objects."""
    counts = Counter(annotated_images.lost_ids(class_names))
    for image in annotated_images.images(parts, names):
        lines = []
        for thing in image.things:
            if thing.iscrowd:
                counts[annotated_images.CROWDS] += 1
                continue
            line, lost = _line(thing, image.image_hw)
            lines.append(f"{line}\n")
            counts.update(lost)
        path = folder / "labels" / image.split / f"{stem(image.name)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    description = {split: images(split) for split in parts} | {"names": dict(enumerate(class_names.names))}
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
    return annotated_images.losses(counts)


def _line(thing: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[str, list[str]]:
    """The line of an object, and what it does not say."""
    thing, outside = inside(thing, image_hw)
    numbers, lost = as_one_polygon(thing, image_hw, cut=True)
    if not numbers:
        low, high = thing.box[:2], thing.box[2:]
        numbers = [*((low + high) / 2).tolist(), *(high - low).tolist()]
    return " ".join([str(thing.label - 1), *_parts_of(numbers, image_hw)]), outside + lost


def _parts_of(numbers: list[float], image_hw: tuple[int, int]) -> list[str]:
    """x, y, ... in parts of the image, such that a reader gets at least the pixels back: pycocotools rounds to a
    fifth of one, which numbers like 0.1 lie between, and less by a millionth would move the corner."""
    pixels, sides = np.reshape(numbers, (-1, 2)), np.array(image_hw[::-1])
    steps = np.rint(pixels / sides * 10**_DIGITS)
    steps += steps / 10**_DIGITS * sides < pixels
    return [decimals(step / 10**_DIGITS, _DIGITS) for step in steps.ravel().tolist()]
