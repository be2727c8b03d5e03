"""Ground truth and detections as the rows that COCO's evaluators take, on original pixels.

Ground truth is built from the records, so that every annotation format is scored by the same path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """images, categories, ground truth: of COCO's annotation file, with ids from 1 on in the order of the records and of the
    classes.  found: of its results file.  kinds: ``bbox`` and, where ground truth and detections all have masks, ``segm``."""

    images: list[Row]
    categories: list[Row]
    ground_truth: list[Row]
    found: list[Row]
    kinds: tuple[str, ...]

    def detections(self, kind: str) -> list[Row]:
        """``found`` with what an evaluator of ``kind`` asks of an annotation; the area is that of the box or mask."""
        rows = []
        for i, row in enumerate(self.found, start=1):
            _, _, w, h = row["bbox"]
            area = w * h if kind == "bbox" else masks.area(row["segmentation"])
            rows.append({**row, "id": i, "area": area, "iscrowd": 0})
        return rows


def rows_of(records: Sequence[ImageRecord], found: Sequence[Detections], class_names: ClassNames) -> Rows:
    """The rows of ``records`` and of what was found in each, with labels of ``class_names``.

    Raises ValueError for unequal lengths, for detections of another size of image, and for labels that
    ``class_names`` does not have: COCO's evaluators pass over them in silence.
    """
    if len(records) != len(found):
        raise ValueError(f"{len(records)} images but {len(found)} results")
    for record, one in zip(records, found, strict=True):
        if record.image_hw != tuple(one.image_hw):
            raise ValueError(f"{record.path} is {record.image_hw} (h, w), its detections are for {one.image_hw}")
        if len(one) and one.labels.max() > len(class_names):
            raise ValueError(f"{record.path}: label {one.labels.max()} is not in 1..{len(class_names)}")
    with_masks = all(r.masks is not None for r in records) and all(f.masks is not None for f in found)
    return Rows(
        images=[{"id": i, "height": r.image_hw[0], "width": r.image_hw[1]} for i, r in enumerate(records, start=1)],
        categories=[{"id": i, "name": name} for i, name in enumerate(class_names.names, start=1)],
        ground_truth=_ground_truth(records, with_masks),
        found=_found(found, with_masks),
        kinds=("bbox", "segm") if with_masks else ("bbox",),
    )


def _ground_truth(records: Sequence[ImageRecord], with_masks: bool) -> list[Row]:
    rows: list[Row] = []
    for image_id, record in enumerate(records, start=1):
        for i, (x0, y0, x1, y1) in enumerate(record.boxes.astype(float).tolist()):
            row: Row = {
                "id": len(rows) + 1,  # from 1 on: the evaluators take a match with annotation 0 for none
                "image_id": image_id,
                "category_id": int(record.labels[i]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(record.areas[i]),
                "iscrowd": int(record.iscrowd[i]),
            }
            if with_masks:
                assert record.masks is not None
                row["segmentation"] = masks.from_coco(record.masks[i], record.image_hw)
            rows.append(row)
    return rows


def _found(found: Sequence[Detections], with_masks: bool) -> list[Row]:
    rows = []
    for image_id, one in enumerate(found, start=1):
        for i, (x0, y0, x1, y1) in enumerate(one.boxes.astype(float).tolist()):
            row: Row = {"image_id": image_id, "category_id": int(one.labels[i])}
            row |= {"score": float(one.scores[i]), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            if with_masks:
                assert one.masks is not None
                row["segmentation"] = one.masks[i]
            rows.append(row)
    return rows
