"""Exporter of COCO's JSON, which holds all information.

Images are in SPLIT/, annotations in annotations/instances_SPLIT.json with one entry per line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from detect import progress
from detect.data.exporters.exporter import Export, Exporter
from detect.data.table import Table, renumber_duplicates
from detect.structures import masks
from detect.structures.class_names import ClassNames

_MANY = 50_000  # annotations; larger datasets show a progress bar


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``.

    A repeated annotation id is replaced by a new one. An object without a mask has no ``segmentation``.
    """
    class_names = export.class_names
    categories = [{"id": i, "name": n} for i, n in zip(class_names.ids, class_names.names, strict=True)]
    for split, table in export.parts.items():
        yield (
            f"annotations/instances_{split}.json",
            chain(
                [f'{{"info": {json.dumps({"description": f"{split} split"})},\n'],
                _json_list("images", _images(table, export.names[split])),
                _json_list("annotations", _annotations(table, class_names)),
                _json_list("categories", categories, end="\n]}\n"),
            ),
        )


EXPORTER = Exporter(files, image_folder=str)


def _json_list(key: str, entries: Iterable[dict[str, Any]], end: str = "\n],\n") -> Iterator[str]:
    """Yield the text of a key with a list of entries, one entry per line."""
    yield f'"{key}": ['
    for position, entry in enumerate(entries):
        yield (",\n" if position else "\n") + json.dumps(entry, separators=(",", ":"))
    yield end


def _images(table: Table, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for image_id, name, (height, width) in zip(table.image_ids.tolist(), names, table.image_hw.tolist(), strict=True):
        yield {"id": image_id, "file_name": name, "width": width, "height": height}


def _annotations(table: Table, class_names: ClassNames) -> Iterator[dict[str, Any]]:
    corners, sides = table.boxes[:, :2], _sides(table.boxes)
    image_ids = table.image_ids[table.images].tolist()
    count = len(image_ids)
    annotation_ids, _ = renumber_duplicates(table.annotation_ids)
    for row in progress.bar(range(count), desc="writing annotations", min_items=_MANY):
        entry = {
            "id": int(annotation_ids[row]),
            "image_id": image_ids[row],
            "category_id": class_names.category_id(int(table.labels[row])),
            "bbox": [*corners[row].tolist(), *sides[row].tolist()],
            "area": float(table.areas[row]),
            "iscrowd": int(table.iscrowd[row]),
        }
        mask = table.mask(row)
        if mask is not None:
            entry["segmentation"] = masks.to_json(mask)
        yield entry


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Return width and height [M, 2] of ``boxes`` [M, 4] such that corner + side is exactly the other corner.

    Among such numbers the shortest is used: 0.3, not 0.30000000000000004.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    exact = high - low
    candidates = [np.round(exact, 3), exact, np.nextafter(exact, np.inf), np.nextafter(exact, 0)]
    return np.select([low + side == high for side in candidates], candidates, exact)
