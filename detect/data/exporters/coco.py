"""Exporter of COCO's JSON, which holds all information.

Images are in SPLIT/, annotations in annotations/instances_SPLIT.json with one entry per line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np

from detect.data.exporters.export_rows import image_rows
from detect.data.exporters.exporter import Export, Exporter, ImageRow, ImageRows
from detect.structures import masks
from detect.structures.class_names import ClassNames


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``. An object without a mask has no ``segmentation``."""
    class_names = export.class_names
    categories = [{"id": i, "name": n} for i, n in zip(class_names.ids, class_names.names, strict=True)]
    rows = image_rows(export)
    for split, images in export.splits.items():
        yield (
            f"annotations/instances_{split}.json",
            chain(
                [f'{{"info": {json.dumps({"description": f"{split} split"})},\n'],
                _json_list("images", _images(images)),
                _json_list("annotations", _annotations(islice(rows, len(images)), class_names)),
                _json_list("categories", categories, end="\n]}\n"),
            ),
        )
    next(rows, None)  # ends the progress bar


EXPORTER = Exporter(files, image_folder=str)


def _json_list(key: str, entries: Iterable[dict[str, Any]], end: str = "\n],\n") -> Iterator[str]:
    """Yield the text of a key with a list of entries, one entry per line."""
    yield f'"{key}": ['
    for position, entry in enumerate(entries):
        yield (",\n" if position else "\n") + json.dumps(entry, separators=(",", ":"))
    yield end


def _images(images: ImageRows) -> Iterator[dict[str, Any]]:
    for image in images.without_objects():
        height, width = image.image_hw
        yield {"id": image.image_id, "file_name": image.name, "width": width, "height": height}


def _annotations(images: Iterable[ImageRow], class_names: ClassNames) -> Iterator[dict[str, Any]]:
    for image in images:
        boxes = np.array([one.box for one in image.objects]).reshape(-1, 4)
        for one, side in zip(image.objects, _sides(boxes).tolist(), strict=True):
            entry = {
                "id": one.annotation_id,
                "image_id": image.image_id,
                "category_id": class_names.category_id(one.label),
                "bbox": [*one.box[:2].tolist(), *side],
                "area": one.area,
                "iscrowd": int(one.iscrowd),
            }
            if one.mask is not None:
                entry["segmentation"] = masks.to_json(one.mask)
            yield entry


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Return width and height [M, 2] of ``boxes`` [M, 4] such that corner + side is exactly the other corner.

    Among such numbers the shortest is used: 0.3, not 0.30000000000000004.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    exact = high - low
    candidates = [np.round(exact, 3), exact, np.nextafter(exact, np.inf), np.nextafter(exact, 0)]
    return np.select([low + side == high for side in candidates], candidates, exact)
