"""COCO's JSON: the one format that holds all there is. Images lie in SPLIT/, their objects are told in
annotations/instances_SPLIT.json, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detect import progress
from detect.data.exporters.annotated_images import ExportLoss, Names, Parts, mask_of
from detect.data.table import Table, renumber_duplicates
from detect.structures import masks
from detect.structures.class_names import ClassNames

_MANY = 50_000  # annotations from which on a bar is shown


def images(split: str) -> str:
    return split


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Nothing is lost, but an annotation id that an earlier object has, in the place of which comes a new one. An
    object without a mask has no segmentation."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for split, table in parts.items():
        with (folder / "annotations" / f"instances_{split}.json").open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {json.dumps({"description": f"{split} split"})},\n')
            file.writelines(_listed("images", _images(table, names[split])))
            file.writelines(_listed("annotations", _annotations(table, class_names)))
            categories = ({"id": i, "name": n} for i, n in zip(class_names.ids, class_names.names, strict=True))
            file.writelines(_listed("categories", categories, end="\n]}\n"))
    return []


def _listed(key: str, entries: Iterable[dict[str, Any]], end: str = "\n],\n") -> Iterator[str]:
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
    for row in progress.bar(range(count), desc="writing annotations", disable=count < _MANY):
        entry = {
            "id": int(annotation_ids[row]),
            "image_id": image_ids[row],
            "category_id": class_names.category_id(int(table.labels[row])),
            "bbox": [*corners[row].tolist(), *sides[row].tolist()],
            "area": float(table.areas[row]),
            "iscrowd": int(table.iscrowd[row]),
        }
        mask = mask_of(table, row)
        if mask is not None:
            coded = masks.to_json(mask) if isinstance(mask, dict) else [np.asarray(p).tolist() for p in mask]
            entry["segmentation"] = coded
        yield entry


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Width and height [M, 2] of ``boxes`` [M, 4], such that a reader who adds them gets the very corners again, and
    short where that is possible: 0.3 and not 0.30000000000000004."""
    low, high = boxes[:, :2], boxes[:, 2:]
    exact = high - low
    near = [np.round(exact, 3), exact, np.nextafter(exact, np.inf), np.nextafter(exact, 0)]
    return np.select([low + side == high for side in near], near, exact)
