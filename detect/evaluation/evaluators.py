"""The two libraries that compute COCO's metrics (https://cocodataset.org/#detection-eval): pycocotools, the reference,
and faster-coco-eval (https://github.com/MiXaiLL76/faster_coco_eval), which computes the same numbers faster."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from importlib import metadata
from pkgutil import resolve_name
from typing import Any

import numpy as np

from detect.evaluation import DEFAULT_EVALUATOR, EVALUATORS
from detect.evaluation.coco_rows import CocoRows, Row
from detect.evaluation.detection_limit import STANDARD_LIMIT

REFERENCE = "pycocotools"


@dataclass(frozen=True)
class CocoResult:
    """Arrays of an evaluator, 0..1, with -1 where there is no ground truth.

    stats: float64 [12], in the order of ``coco_metrics.metric_names``.
    precision: float64 [IoU thresholds, recalls, classes, area ranges, detection limits].
    recall: float64 [IoU thresholds, classes, area ranges, detection limits].
    """

    stats: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def evaluate(rows: CocoRows, kind: str, evaluator: str = DEFAULT_EVALUATOR, limit: int = STANDARD_LIMIT) -> CocoResult:
    """Compute the metrics of boxes (``kind`` "bbox") or masks ("segm") with one of EVALUATORS.

    limit: number of detections per image and class that are scored.
    """
    evaluation = make_evaluation(rows, kind, evaluator, limit)
    with stdout_suppressed():
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return CocoResult(_stats(precision, recall), precision, recall)


def _stats(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return what ``COCOeval.summarize`` computes; that of pycocotools fails unless the limit is 100."""
    selections = [precision[:, :, :, 0, -1], precision[0, :, :, 0, -1], precision[5, :, :, 0, -1]]
    selections += [precision[:, :, :, area, -1] for area in (1, 2, 3)]
    selections += [recall[:, :, 0, limit] for limit in (0, 1, 2)]
    selections += [recall[:, :, area, -1] for area in (1, 2, 3)]
    known = [selection[selection > -1] for selection in selections]
    return np.array([values.mean() if values.size else -1.0 for values in known])


def make_evaluation(rows: CocoRows, kind: str, evaluator: str, limit: int = STANDARD_LIMIT) -> Any:
    """Return the library's own evaluation object (COCOeval), loaded with ``rows`` and not run yet."""
    coco_class, evaluation_class = map(resolve_name, EVALUATORS[evaluator])
    ground_truth = _indexed(coco_class, rows, rows.ground_truth)
    detections = _indexed(coco_class, rows, rows.detections_as_annotations(kind))
    evaluation = evaluation_class(ground_truth, detections, kind)
    evaluation.params.maxDets = [1, 10, limit]
    return evaluation


def name_and_version(evaluator: str) -> dict[str, str]:
    """Return ``{"name", "version"}`` of one of EVALUATORS, to be stored with its numbers."""
    return {"name": evaluator, "version": metadata.version(evaluator)}


def stdout_suppressed() -> contextlib.redirect_stdout:
    """Return a context in which nothing is printed: pycocotools prints its progress and a table."""
    return contextlib.redirect_stdout(io.StringIO())


def _indexed(coco_class: type, rows: CocoRows, annotations: list[Row]) -> Any:
    coco = coco_class()
    copies = [dict(row) for row in annotations]  # the evaluators write into the rows
    coco.dataset = {"images": rows.images, "annotations": copies, "categories": rows.categories, "info": {}}
    with stdout_suppressed():
        coco.createIndex()
    return coco
