"""Exporter of the VGG Image Annotator 2 (VIA): SPLIT/via_region_data.json beside the images.

The format is that of VIA's exported annotations. An object with a mask becomes one polygon, an object without a mask a
rectangle. The attribute "class" is the class; "iscrowd" equal to "1" marks crowds for our own reader.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from detect.data.exporters.export_rows import OBJECTS_WITHOUT_MASK, ObjectRow, class_texts, image_rows, one_polygon
from detect.data.exporters.exporter import Export, Exporter
from detect.data.readers.via import CROWD_ATTRIBUTE


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``. The box of an object with a mask is not written."""
    texts = class_texts(export)
    entries: dict[str, dict[str, Any]] = {split: {} for split in export.parts}
    for image in image_rows(export):
        regions = []
        for one in image.objects:
            attributes = {"class": texts[one.label - 1]} | ({CROWD_ATTRIBUTE: "1"} if one.iscrowd else {})
            shape = _shape(one, image.image_hw, export.losses)
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        size = image.path.stat().st_size
        entry = {"filename": image.name, "size": size, "regions": regions, "file_attributes": {}}
        entries[image.split][f"{image.name}{size}"] = entry
    for split, content in entries.items():
        yield f"{split}/via_region_data.json", [json.dumps(content, separators=(",", ":"))]


EXPORTER = Exporter(files, image_folder=str)


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
