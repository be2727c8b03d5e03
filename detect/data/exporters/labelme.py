"""Exporter of labelme's JSON: images in SPLIT/, and beside each image a file of the same name.

Format: https://github.com/wkentaro/labelme. An object with a mask becomes one polygon or, with several parts, polygons
of equal ``group_id``; an object without a mask becomes a rectangle. There are no crowds, so they are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from detect.data.exporters.export_rows import (
    CROWDS,
    MASKS,
    OBJECTS_WITHOUT_MASK,
    class_texts,
    count_lost_area,
    count_mask_differences,
    count_unused_classes,
    image_rows,
)
from detect.data.exporters.exporter import Export, Exporter, ObjectRow
from detect.data.file_listing import without_suffix
from detect.structures.polygons import single_polygon

_VERSION = "5.5.0"  # of the format that is written


class Shape(NamedTuple):
    """A shape of an annotation program.

    label: text.  polygon: [x0, y0, x1, y1, ...] in pixels, [] for a box.  box: xyxy in pixels.
    group: number that the parts of one object share, or None.  description: text that the program shows.
    """

    label: str
    polygon: list[float]
    box: list[float]
    group: int | None = None
    description: str = ""


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``. The box of an object with a mask is not written."""
    texts, used = class_texts(export), set[int]()
    num_boxes = num_polygons = 0
    for image in image_rows(export):
        shapes: list[Shape] = []
        for number, one in enumerate(image.objects, start=1):
            if one.iscrowd:
                export.losses[CROWDS] += 1
                continue
            used.add(one.label)
            own = list(object_shapes(one, texts[one.label - 1], number, image.image_hw))
            _count_losses(one, own, image.image_hw, export.losses)
            num_boxes, num_polygons = num_boxes + (not own[0].polygon), num_polygons + bool(own[0].polygon)
            shapes += own
        text = json.dumps(document(image.name, image.image_hw, shapes), ensure_ascii=False, indent=1)
        yield f"{image.split}/{without_suffix(image.name)}.json", [f"{text}\n"]
    if num_boxes and num_polygons:  # readers take all shapes of a dataset with polygons for masks
        export.losses[OBJECTS_WITHOUT_MASK] += num_boxes
    count_unused_classes(export, used)


EXPORTER = Exporter(files, image_folder=str, label_folder=str)


def object_shapes(one: ObjectRow, label: str, number: int, image_hw: tuple[int, int]) -> Iterator[Shape]:
    """Yield the shapes of an object: a polygon for each part of its mask, or its box.

    number: position of the object in its image, which becomes the group of several parts.
    """
    polygons = _polygons(one, image_hw)
    for polygon in polygons:
        yield Shape(label, polygon, one.box.tolist(), number if len(polygons) > 1 else None)
    if not polygons:
        yield Shape(label, [], one.box.tolist())


def document(image_name: str, image_hw: tuple[int, int], shapes: Iterable[Shape]) -> dict[str, Any]:
    """Return the content of the file beside an image.  image_name: path; its last part is written."""
    height, width = image_hw
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": list(map(_entry, shapes)),
        "imagePath": PurePosixPath(image_name).name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _polygons(one: ObjectRow, image_hw: tuple[int, int]) -> list[list[float]]:
    """Return the polygons of a mask, of an RLE one polygon; [] without a mask and for a mask without a pixel."""
    single = [] if one.mask is None else single_polygon(one.mask, image_hw)
    if single and isinstance(one.mask, list):
        return [list(map(float, polygon)) for polygon in one.mask]
    return [single] if single else []


def _entry(shape: Shape) -> dict[str, Any]:
    numbers = shape.polygon or shape.box
    return {
        "label": shape.label,
        "points": [list(point) for point in zip(numbers[0::2], numbers[1::2], strict=True)],
        "group_id": shape.group,
        "description": shape.description,
        "shape_type": "polygon" if shape.polygon else "rectangle",
        "flags": {},
        "mask": None,
    }


def _count_losses(one: ObjectRow, shapes: list[Shape], image_hw: tuple[int, int], losses: Counter[str]) -> None:
    """Count what the shapes of an object cannot hold."""
    polygons = [shape.polygon for shape in shapes if shape.polygon]
    if polygons:
        count_mask_differences(one, polygons, image_hw, losses)
        return
    losses.update([MASKS] * (one.mask is not None))
    count_lost_area(one, float(np.prod(one.box[2:] - one.box[:2])), losses)
