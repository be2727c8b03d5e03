"""Exporter of YOLO: images/SPLIT, labels/SPLIT with one text file per image, and data.yaml with the class names.

An object with a mask becomes one polygon, an object without a mask a box. Everything is clipped to the image, since
Ultralytics ignores images with a coordinate outside 0..1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import numpy as np
import yaml

from detect.data.exporters.export_rows import (
    CROWDS,
    clip_to_image,
    count_lost_category_ids,
    decimals,
    image_rows,
    one_polygon,
)
from detect.data.exporters.exporter import Export, Exporter, ObjectRow
from detect.data.file_listing import without_suffix
from detect.data.readers.yolo import NOT_LABELS

_DIGITS = 8  # decimals of a fraction of the image size: 0.00004 px of 4000 px


def image_folder(split: str) -> str:
    """Return the folder of a split's images."""
    return f"images/{split}"


def label_folder(split: str) -> str:
    """Return the folder of a split's label files."""
    return f"labels/{split}"


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``. Crowds are skipped: YOLO would read them as one object."""
    count_lost_category_ids(export)
    for image in image_rows(export):
        lines = []
        for one in image.objects:
            if one.iscrowd:
                export.losses[CROWDS] += 1
            else:
                lines.append(_line(one, image.image_hw, export.losses))
        yield f"{label_folder(image.split)}/{without_suffix(image.name)}.txt", lines
    description = {split: image_folder(split) for split in export.splits}
    names = {"names": dict(enumerate(export.class_names.names))}
    yield "data.yaml", [yaml.safe_dump(description | names, sort_keys=False, allow_unicode=True)]


def adapt_name(name: str) -> str:
    """Return an image name whose label file readers find.

    Ultralytics replaces the last folder "images" of a path by "labels", and files such as train.txt are no labels.
    """
    path = PurePosixPath(name)
    path = PurePosixPath(*(part for part in path.parent.parts if part != "images"), path.name)
    if f"{path.stem}.txt".lower() in NOT_LABELS:
        path = path.with_name(f"{path.stem}_{path.suffix}")
    return path.as_posix()


EXPORTER = Exporter(files, image_folder, label_folder, adapt_name)


def _line(one: ObjectRow, image_hw: tuple[int, int], losses: Counter[str]) -> str:
    """Return the line of an object, and count what it cannot hold."""
    one = clip_to_image(one, image_hw, losses)
    numbers = one_polygon(one, image_hw, losses, cut=True)
    if not numbers:
        low, high = one.box[:2], one.box[2:]
        numbers = [*((low + high) / 2).tolist(), *(high - low).tolist()]
    return " ".join([str(one.label - 1), *_fractions(numbers, image_hw)]) + "\n"


def _fractions(numbers: list[float], image_hw: tuple[int, int]) -> list[str]:
    """Return x, y, ... in pixels as fractions of the image size, rounded so that they give at least these pixels.

    pycocotools rounds coordinates to a fifth of a pixel. Coordinates like 0.1 lie between two of its steps, and a
    number smaller by a millionth would move the vertex.
    """
    pixels, sides = np.reshape(numbers, (-1, 2)), np.array(image_hw[::-1])
    steps = np.rint(pixels / sides * 10**_DIGITS)
    steps += steps / 10**_DIGITS * sides < pixels
    return [decimals(step / 10**_DIGITS, _DIGITS) for step in steps.ravel().tolist()]
