"""The detections whose error analysis by tidecv is recorded in tests/evaluation/fixtures/tidecv.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from helpers.folders import SHARED
from helpers.planted_errors import ERRORS, at_random, drawn_records, planted
from helpers.reading import read_split
from helpers.scenes import SHAPES

TINY = SHARED / "data" / "coco_tiny80"

KINDS: dict[str, Callable[[Sequence[ImageRecord], int], list[Detections]]] = {
    **{error: partial(planted, errors=(error,)) for error in ERRORS},
    "nothing": partial(planted, errors=()),
    "all errors": planted,
    "all errors again": partial(planted, seed=1),
    "random": at_random,
}
"""Detections for records of a number of classes: each planted error alone, all together, and random detections."""

RECORDED = [(dataset, kind) for dataset in ("drawn", "coco_tiny80 val") for kind in KINDS] + [
    ("coco_tiny80 train", kind) for kind in ("all errors", "random")
]


@dataclass(frozen=True)
class Case:
    """Records and detections; ``file`` is the annotation file that the records were read from, None if drawn."""

    records: Sequence[ImageRecord]
    detections: list[Detections]
    class_names: ClassNames
    file: Path | None = None

    def annotation_file(self) -> dict[str, Any]:
        """Return the ground truth as COCO's annotation file has it: the original one where there is one."""
        if self.file is not None:
            return json.loads(self.file.read_text())
        categories = zip(self.class_names.ids, self.class_names.names, strict=True)
        return {
            "images": [
                {"id": r.image_id, "file_name": r.path.name, "height": r.image_hw[0], "width": r.image_hw[1]}
                for r in self.records
            ],
            "categories": [{"id": id, "name": name} for id, name in categories],
            "annotations": [self._annotation(record, i) for record in self.records for i in range(len(record))],
        }

    def _annotation(self, record: ImageRecord, i: int) -> dict[str, Any]:
        x0, y0, x1, y1 = record.boxes[i].tolist()
        return {
            "image_id": record.image_id,
            "category_id": self.class_names.category_id(int(record.labels[i])),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": masks.to_json(record.masks[i]),
            "iscrowd": int(record.iscrowd[i]),
        }

    def results_file(self) -> list[dict[str, Any]]:
        """Return the detections as COCO's results file has them."""
        return [
            {**row, "category_id": self.class_names.category_id(row["category_id"])}
            for record, found in zip(self.records, self.detections, strict=True)
            for row in found.to_coco(record.image_id)
        ]


@cache
def make_case(dataset: str, kind: str) -> Case:
    """Return the detections of one of KINDS in "drawn", "coco_tiny80 train" or "coco_tiny80 val"."""
    records, class_names, file = _dataset(dataset)
    return Case(records, KINDS[kind](records, len(class_names)), class_names, file)


@cache
def _dataset(name: str) -> tuple[Sequence[ImageRecord], ClassNames, Path | None]:
    if name == "drawn":
        return drawn_records(), SHAPES, None
    split = name.split()[-1]
    file = TINY / "annotations" / f"instances_{split}2017.json"
    class_names, records = read_split("coco", TINY / f"{split}2017", file)
    return list(records), class_names, file
