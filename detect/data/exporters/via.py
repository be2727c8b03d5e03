"""Exporter of the VGG Image Annotator 2 (VIA): SPLIT/via_region_data.json beside the images.

The format is that of VIA's exported annotations. An object with a mask becomes one polygon, an object without a mask a
rectangle. The attribute "class" is the class; "iscrowd" equal to "1" marks crowds for our own reader.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from detect.data.exporters.export_rows import (
    OBJECTS_WITHOUT_MASK,
    class_texts,
    count_unused_classes,
    image_rows,
    one_polygon,
)
from detect.data.exporters.exporter import Export, Exporter, ImageRow, ObjectRow
from detect.data.readers.via import CROWD_ATTRIBUTE

_UNKNOWN_SIZE = -1  # bytes; VIA then matches an image by its name alone


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``. The box of an object with a mask is not written."""
    texts, used = class_texts(export), set[int]()
    images = image_rows(export)
    for split, rows in export.splits.items():
        yield f"{split}/via_region_data.json", _pieces(islice(images, len(rows)), texts, used, export.losses)
    next(images, None)  # ends the progress bar
    count_unused_classes(export, used)


EXPORTER = Exporter(files, image_folder=str)


def _pieces(images: Iterable[ImageRow], texts: Sequence[str], used: set[int], losses: Counter[str]) -> Iterator[str]:
    """Yield the text of a file in pieces, one per image; add the labels of the objects to ``used``."""
    start = "{"
    for image in images:
        regions = []
        for one in image.objects:
            used.add(one.label)
            attributes = {"class": texts[one.label - 1]} | ({CROWD_ATTRIBUTE: "1"} if one.iscrowd else {})
            shape = _shape(one, image.image_hw, losses)
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        size = image.path.stat().st_size if image.path else _UNKNOWN_SIZE
        entry = {"filename": image.name, "size": size, "regions": regions, "file_attributes": {}}
        key = json.dumps(f"{image.name}{size}")
        yield f"{start}{key}:{json.dumps(entry, separators=(',', ':'))}"
        start = ",\n"
    yield "}" if start != "{" else "{}"


def _shape(one: ObjectRow, image_hw: tuple[int, int], losses: Counter[str]) -> dict[str, Any]:
    """Return the ``shape_attributes`` of an object, and count what they cannot hold."""
    numbers = [_short(number) for number in one_polygon(one, image_hw, losses, cut=False)]
    if numbers:
        return {"name": "polygon", "all_points_x": numbers[0::2], "all_points_y": numbers[1::2]}
    if one.mask is None:
        losses[OBJECTS_WITHOUT_MASK] += 1
    x, y, right, lower = one.box.tolist()
    return {"name": "rect", "x": _short(x), "y": _short(y), "width": _short(right - x), "height": _short(lower - y)}


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
