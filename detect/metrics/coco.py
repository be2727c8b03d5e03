"""COCO's detection metrics (https://cocodataset.org/#detection-eval), through pycocotools, the reference.

Truth is built from the records, so that every annotation format is scored by the same path, on original pixels.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detect import masks
from detect.types import ClassNames, Detections, ImageRecord

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Scores = dict[str, float | None]


def score(
    records: Sequence[ImageRecord], found: Sequence[Detections], class_names: ClassNames
) -> dict[str, dict[str, Any]]:
    """``{"bbox": {"AP": ..}, "segm": {..}, "classes": {NAME: {"bbox": {..}, "segm": {..}}}}``, 0..1.

    found: one for each record, labels those of ``class_names``. ``segm`` only where truth and detections have masks.
    None stands where COCO says -1: no truth of that size or class to score. Raises ValueError for unequal lengths,
    for detections of another size of image, and for labels that ``class_names`` does not have.
    """
    if len(records) != len(found):
        raise ValueError(f"{len(records)} pictures but {len(found)} results")
    for record, one in zip(records, found, strict=True):
        if record.image_hw != tuple(one.image_hw):
            raise ValueError(f"{record.path} is {record.image_hw} (h, w), its detections are for {one.image_hw}")
        if len(one) and one.labels.max() > len(class_names):  # COCOeval passes over them in silence
            raise ValueError(f"{record.path}: label {one.labels.max()} is not in 1..{len(class_names)}")
    with_masks = all(r.masks is not None for r in records) and all(f.masks is not None for f in found)
    truth = _truth(records, class_names, with_masks)
    results = _results(found)
    out: dict[str, dict[str, Any]] = {}
    classes: dict[str, dict[str, Scores]] = {name: {} for name in class_names.names}
    for kind in ("bbox", "segm") if with_masks else ("bbox",):
        evaluation = _evaluate(truth, results, kind)
        out[kind] = dict(zip(NAMES, map(_or_none, evaluation.stats), strict=True))
        for index, name in enumerate(class_names.names):
            classes[name][kind] = _of_class(evaluation, index)
    out["classes"] = classes
    return out


def one_line(metrics: dict[str, dict[str, Any]]) -> str:
    """AP and AP50 of each kind for a log: ``bbox AP 0.512 AP50 0.803  segm AP ...``."""
    parts = []
    for kind in ("bbox", "segm"):
        if kind in metrics:
            shown = [f"{n} -" if metrics[kind][n] is None else f"{n} {metrics[kind][n]:.3f}" for n in ("AP", "AP50")]
            parts.append(" ".join([kind, *shown]))
    return "  ".join(parts)


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """The metrics as lines of text: one row for each kind and, with several classes, for each class."""
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    kinds = [k for k in ("bbox", "segm") if k in metrics]
    rows: list[tuple[str, Scores]] = [(kind, metrics[kind]) for kind in kinds]
    if len(metrics["classes"]) > 1:
        rows += [(f"{kind} {name}", metrics["classes"][name][kind]) for name in metrics["classes"] for kind in kinds]
    width = max(len(title) for title, _ in rows)
    lines = [" " * width + "".join(f"{name:>8}" for name in names)]
    for title, scores in rows:
        cells = ("-" if scores.get(name) is None else f"{scores[name]:.3f}" for name in names)
        lines.append(title.ljust(width) + "".join(f"{cell:>8}" for cell in cells))
    return "\n".join(lines)


def _truth(records: Sequence[ImageRecord], class_names: ClassNames, with_masks: bool) -> COCO:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, start=1):
        images.append({"id": image_id, "height": record.image_hw[0], "width": record.image_hw[1]})
        for i, (x0, y0, x1, y1) in enumerate(record.boxes.astype(float).tolist()):
            annotation: dict[str, Any] = {
                # Ids start at 1: COCOeval takes a match with annotation 0 for none.
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": int(record.labels[i]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(record.areas[i]),
                "iscrowd": int(record.iscrowd[i]),
            }
            if with_masks:
                assert record.masks is not None
                annotation["segmentation"] = masks.from_coco(record.masks[i], record.image_hw)
            annotations.append(annotation)
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names.names, start=1)]
    return _coco(images, annotations, categories)


def _results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    results = []
    for image_id, one in enumerate(found, start=1):
        for i, (x0, y0, x1, y1) in enumerate(one.boxes.astype(float).tolist()):
            row: dict[str, Any] = {"image_id": image_id, "category_id": int(one.labels[i])}
            row |= {"score": float(one.scores[i]), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            if one.masks is not None:
                row["segmentation"] = one.masks[i]
            results.append(row)
    return results


def _evaluate(truth: COCO, results: list[dict[str, Any]], kind: str) -> COCOeval:
    rows = []
    for i, row in enumerate(results, start=1):
        _, _, w, h = row["bbox"]
        area = w * h if kind == "bbox" else masks.area(row["segmentation"])
        rows.append({**row, "id": i, "area": area, "iscrowd": 0})
    evaluation = COCOeval(truth, _coco(truth.dataset["images"], rows, truth.dataset["categories"]), kind)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints; the table is ours
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _coco(images: list, annotations: list, categories: list) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": categories, "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _of_class(evaluation: COCOeval, index: int) -> Scores:
    """The figures of one class, from COCOeval's arrays [IoU, recall, class, area range, most detections]."""
    precision, recall = evaluation.eval["precision"][:, :, index], evaluation.eval["recall"][:, index]
    return {
        "AP": _mean(precision[:, :, 0, -1]),
        "AP50": _mean(precision[0, :, 0, -1]),
        "AP75": _mean(precision[5, :, 0, -1]),
        "APs": _mean(precision[:, :, 1, -1]),
        "APm": _mean(precision[:, :, 2, -1]),
        "APl": _mean(precision[:, :, 3, -1]),
        "AR100": _mean(recall[:, 0, -1]),
    }


def _mean(values: np.ndarray) -> float | None:
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def _or_none(value: float) -> float | None:
    return None if value < 0 else float(value)
