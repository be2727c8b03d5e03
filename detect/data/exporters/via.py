"""VGG Image Annotator 2, as its exported annotations: SPLIT/via_region_data.json beside the images.

An object with a mask is one polygon, one without a rectangle. The class is the attribute "class"; that of crowds,
"iscrowd": "1", is our own.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from detect.data.exporters import annotated_images
from detect.data.exporters.annotated_images import AnnotatedObject, ExportLoss, Names, Parts, as_one_polygon
from detect.data.readers.via import CROWD
from detect.structures.class_names import ClassNames


def images(split: str) -> str:
    return split


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Boxes of objects with masks are no more than the mask's."""
    shown = annotated_images.text_names(class_names)
    counts = Counter(annotated_images.lost_ids(class_names) | annotated_images.unused(parts, class_names))
    entries: dict[str, dict[str, Any]] = {split: {} for split in parts}
    for image in annotated_images.images(parts, names):
        regions = []
        for thing in image.things:
            shape, lost = _shape(thing, image.image_hw)
            crowd = {CROWD: "1"} if thing.iscrowd else {}
            regions.append({"shape_attributes": shape, "region_attributes": {"class": shown[thing.label - 1]} | crowd})
            counts.update(lost)
        size = image.path.stat().st_size
        entry = {"filename": image.name, "size": size, "regions": regions, "file_attributes": {}}
        entries[image.split][f"{image.name}{size}"] = entry
    for split, content_of_split in entries.items():
        (folder / images(split)).mkdir(parents=True, exist_ok=True)
        text = json.dumps(content_of_split, separators=(",", ":"))
        (folder / images(split) / "via_region_data.json").write_text(text, encoding="utf-8")
    return annotated_images.losses(counts)


def _shape(thing: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    """The ``shape_attributes`` of an object, and what they do not say."""
    polygon, lost = as_one_polygon(thing, image_hw, cut=False)
    if polygon:
        xs, ys = (list(map(_short, numbers)) for numbers in (polygon[0::2], polygon[1::2]))
        return {"name": "polygon", "all_points_x": xs, "all_points_y": ys}, lost
    lost = lost + ([] if thing.mask is not None else [annotated_images.OBJECTS_WITHOUT_MASK])
    x, y, right, lower = thing.box.tolist()
    sides = {"x": x, "y": y, "width": right - x, "height": lower - y}
    return {"name": "rect"} | {key: _short(number) for key, number in sides.items()}, lost


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
