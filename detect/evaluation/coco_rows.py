"""Ground truth and detections in the form that the libraries with COCO's metrics read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detect.evaluation.columns import EvaluationTable
from detect.structures import masks

Row = dict[str, Any]


@dataclass(frozen=True)
class CocoRows:
    """Ground truth and detections of a dataset, as COCO's formats have them.

    images, categories: entries of COCO's annotation file; ids count from 1 in the order of records and classes.
    ground_truth: the annotations of COCO's annotation file.
    detections: the entries of COCO's results file, with the fields of an annotation (id, area, iscrowd).
    """

    images: list[Row]
    categories: list[Row]
    ground_truth: list[Row]
    detections: list[Row]


def to_coco_rows(table: EvaluationTable, kind: str) -> CocoRows:
    """Convert the columns; ``kind`` says whether detections have the area of the box ("bbox") or the mask ("segm")."""
    sizes = table.image_hw.tolist()
    ground_truth = _rows(table.gt_image, table.gt_label, table.gt_boxes, table.gt_masks)
    for row, area, crowd in zip(ground_truth, table.gt_area.tolist(), table.gt_crowd.tolist(), strict=True):
        row |= {"area": area, "iscrowd": int(crowd)}
    detections = _rows(table.dt_image, table.dt_label, table.dt_boxes, table.dt_masks)
    for row, area, score in zip(detections, table.dt_area(kind).tolist(), table.dt_scores.tolist(), strict=True):
        row |= {"area": area, "iscrowd": 0, "score": score}
    return CocoRows(
        images=[{"id": i, "height": height, "width": width} for i, (height, width) in enumerate(sizes, start=1)],
        categories=[{"id": i, "name": name} for i, name in enumerate(table.class_names.names, start=1)],
        ground_truth=ground_truth,
        detections=detections,
    )


def _rows(images: Any, labels: Any, boxes: Any, rles: list[masks.Rle] | None) -> list[Row]:
    """Return a row for each object; ids start at 1, since the libraries read a match with annotation 0 as no match."""
    columns = zip(images.tolist(), labels.tolist(), boxes.tolist(), strict=True)
    rows: list[Row] = [
        {"id": i, "image_id": image + 1, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for i, (image, label, (x0, y0, x1, y1)) in enumerate(columns, start=1)
    ]
    for row, rle in zip(rows, rles or (), strict=rles is not None):
        row["segmentation"] = rle
    return rows
