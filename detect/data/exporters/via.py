"""Exporter of the VGG Image Annotator 2 (VIA): SPLIT/via_region_data.json beside the images.

The format is that of VIA's exported annotations. An object with a mask becomes one polygon, an object without a mask a
rectangle. The attribute "class" is the class; "iscrowd" equal to "1" marks crowds for our own reader.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from detect.data.exporters.annotated_images import (
    OBJECTS_WITHOUT_MASK,
    AnnotatedObject,
    annotated_images,
    as_one_polygon,
    export_losses,
    lost_category_ids,
    stripped_names,
    unused_classes,
)
from detect.data.exporters.exporter import Exporter, ExportLoss, Names, Parts
from detect.data.readers.via import CROWD_ATTRIBUTE
from detect.structures.class_names import ClassNames


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Write the annotation files, see ``Exporter.write``. The box of an object with a mask is not written."""
    class_texts = stripped_names(class_names)
    counts = Counter(lost_category_ids(class_names) | unused_classes(parts, class_names))
    entries: dict[str, dict[str, Any]] = {split: {} for split in parts}
    for image in annotated_images(parts, names):
        regions = []
        for annotated in image.objects:
            shape, lost = _shape(annotated, image.image_hw)
            attributes = {"class": class_texts[annotated.label - 1]}
            if annotated.iscrowd:
                attributes[CROWD_ATTRIBUTE] = "1"
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
            counts.update(lost)
        size = image.path.stat().st_size
        entry = {"filename": image.name, "size": size, "regions": regions, "file_attributes": {}}
        entries[image.split][f"{image.name}{size}"] = entry
    for split, content in entries.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, separators=(",", ":"))
        (folder / split / "via_region_data.json").write_text(text, encoding="utf-8")
    return export_losses(counts)


EXPORTER = Exporter(write, image_folder=str)


def _shape(annotated: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    """Return the ``shape_attributes`` of an object, and what they cannot hold."""
    polygon, lost = as_one_polygon(annotated, image_hw, cut=False)
    if polygon:
        xs, ys = (list(map(_short, numbers)) for numbers in (polygon[0::2], polygon[1::2]))
        return {"name": "polygon", "all_points_x": xs, "all_points_y": ys}, lost
    if annotated.mask is None:
        lost = [*lost, OBJECTS_WITHOUT_MASK]
    x, y, right, lower = annotated.box.tolist()
    sides = {"x": x, "y": y, "width": right - x, "height": lower - y}
    return {"name": "rect"} | {key: _short(number) for key, number in sides.items()}, lost


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
