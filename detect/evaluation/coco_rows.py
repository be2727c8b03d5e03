"""Ground truth and detections in the form that COCO's evaluators read.

Ground truth is built from ImageRecords, so that every annotation format is evaluated by the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

Row = dict[str, Any]


@dataclass(frozen=True)
class CocoRows:
    """Ground truth and detections of a dataset, as COCO's formats have them.

    images, categories: entries of COCO's annotation file; ids count from 1 in the order of records and classes.
    ground_truth: the annotations of COCO's annotation file.
    detections: the entries of COCO's results file.
    kinds: ``("bbox", "segm")`` if ground truth and detections all have masks, else ``("bbox",)``.
    """

    images: list[Row]
    categories: list[Row]
    ground_truth: list[Row]
    detections: list[Row]
    kinds: tuple[str, ...]

    def detections_as_annotations(self, kind: str) -> list[Row]:
        """Return the detections with the fields of an annotation (id, area, iscrowd); ``kind`` decides whether the
        area is that of the box ("bbox") or of the mask ("segm")."""
        rows = []
        for i, row in enumerate(self.detections, start=1):
            _, _, w, h = row["bbox"]
            area = w * h if kind == "bbox" else masks.area(row["segmentation"])
            rows.append({**row, "id": i, "area": area, "iscrowd": 0})
        return rows


def to_coco_rows(
    records: Sequence[ImageRecord], detections: Sequence[Detections], class_names: ClassNames
) -> CocoRows:
    """Convert records and the detections in each of them, with labels of ``class_names``.

    Raises ValueError for unequal lengths, detections of another image size, and labels outside 1..K. COCO's
    evaluators would ignore all of these silently.
    """
    if len(records) != len(detections):
        raise ValueError(f"{len(records)} records but detections of {len(detections)} images")
    for record, one in zip(records, detections, strict=True):
        if record.image_hw != tuple(one.image_hw):
            raise ValueError(f"{record.path} is {record.image_hw} (h, w), its detections are for {one.image_hw}")
        if len(one) and one.labels.max() > len(class_names):
            raise ValueError(f"{record.path}: label {one.labels.max()} is not in 1..{len(class_names)}")
    with_masks = all(r.masks is not None for r in records) and all(d.masks is not None for d in detections)
    return CocoRows(
        images=[{"id": i, "height": r.image_hw[0], "width": r.image_hw[1]} for i, r in enumerate(records, start=1)],
        categories=[{"id": i, "name": name} for i, name in enumerate(class_names.names, start=1)],
        ground_truth=_ground_truth_rows(records, with_masks),
        detections=_detection_rows(detections, with_masks),
        kinds=("bbox", "segm") if with_masks else ("bbox",),
    )


def _ground_truth_rows(records: Sequence[ImageRecord], with_masks: bool) -> list[Row]:
    rows: list[Row] = []
    for image_id, record in enumerate(records, start=1):
        for i, (x0, y0, x1, y1) in enumerate(record.boxes.astype(float).tolist()):
            row: Row = {
                "id": len(rows) + 1,  # not 0: the evaluators read a match with annotation 0 as no match
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


def _detection_rows(detections: Sequence[Detections], with_masks: bool) -> list[Row]:
    rows: list[Row] = []
    for image_id, one in enumerate(detections, start=1):
        # Without class names, to_coco writes the label as category id.
        rows += replace(one, class_names=None, masks=one.masks if with_masks else None).to_coco(image_id)
    return rows
