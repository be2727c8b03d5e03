"""What computes COCO's metrics (https://cocodataset.org/#detection-eval).

This package computes them from columns (``matching``, ``average_precision``). Two libraries compute the same numbers
and are kept as independent references: pycocotools, which defines the metrics, and faster-coco-eval
(https://github.com/MiXaiLL76/faster_coco_eval).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from dataclasses import dataclass
from importlib import metadata
from pkgutil import resolve_name
from typing import Any

import numpy as np

import detect
from detect.errors import UsageError
from detect.evaluation import DEFAULT_EVALUATOR, EVALUATORS
from detect.evaluation.average_precision import precision_and_recall
from detect.evaluation.coco_rows import to_coco_rows
from detect.evaluation.columns import EvaluationTable
from detect.evaluation.matched_table import MatchedTable
from detect.text import unknown

# Library -> its classes for annotations and for their evaluation.
_LIBRARIES = {
    "faster-coco-eval": ("faster_coco_eval:COCO", "faster_coco_eval:COCOeval_faster"),
    "pycocotools": ("pycocotools.coco:COCO", "pycocotools.cocoeval:COCOeval"),
}


@dataclass(frozen=True)
class CocoResult:
    """Arrays of an evaluator, 0..1, with -1 where there is no ground truth.

    stats: float64 [12], in the order of ``coco_metrics.metric_names``.
    precision: float64 [IoU thresholds, recalls, classes, area ranges], at the last detection limit.
    recall: float64 [IoU thresholds, classes, area ranges, detection limits].
    """

    stats: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def evaluate(matched: MatchedTable, kind: str, evaluator: str = DEFAULT_EVALUATOR) -> CocoResult:
    """Compute the metrics of boxes (``kind`` "bbox") or masks ("segm") with one of EVALUATORS."""
    limits = (1, 10, matched.limit)
    if evaluator in _LIBRARIES:
        precision, recall = _evaluate_by_library(matched.table, kind, evaluator, limits)
    else:
        precision, recall = precision_and_recall(matched.table, matched.matching(kind), limits)
    return CocoResult(_stats(precision, recall), precision, recall)


def _stats(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return what ``COCOeval.summarize`` computes; that of pycocotools fails unless the limit is 100."""
    selections = [precision[:, :, :, 0], precision[0, :, :, 0], precision[5, :, :, 0]]
    selections += [precision[:, :, :, area] for area in (1, 2, 3)]
    selections += [recall[:, :, 0, limit] for limit in (0, 1, 2)]
    selections += [recall[:, :, area, -1] for area in (1, 2, 3)]
    known = [selection[selection > -1] for selection in selections]
    return np.array([values.mean() if values.size else -1.0 for values in known])


def _evaluate_by_library(
    table: EvaluationTable, kind: str, library: str, limits: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall as ``precision_and_recall`` does."""
    coco_class, evaluation_class = map(resolve_name, _LIBRARIES[library])
    rows = to_coco_rows(table, kind)
    annotations: list[Any] = []
    for part in (rows.ground_truth, rows.detections):
        coco = coco_class()
        coco.dataset = {"images": rows.images, "annotations": part, "categories": rows.categories, "info": {}}
        annotations.append(coco)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        for coco in annotations:
            coco.createIndex()
        evaluation = evaluation_class(*annotations, kind)
        evaluation.params.maxDets = list(limits)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1], evaluation.eval["recall"]


def check_evaluator(name: str) -> None:
    """Raise UsageError for a name that is not in EVALUATORS, and for a library that is not installed."""
    if name not in EVALUATORS:
        raise UsageError(unknown("evaluator", name, EVALUATORS))
    if (
        name in _LIBRARIES
        and importlib.util.find_spec(_LIBRARIES[name][0].partition(":")[0].partition(".")[0]) is None
    ):
        raise UsageError(f"`evaluator={name!r}` needs the package {name}: pip install {name}")


def name_and_version(evaluator: str) -> dict[str, str]:
    """Return ``{"name", "version"}`` of one of EVALUATORS, to be stored with its numbers."""
    return {
        "name": evaluator,
        "version": metadata.version(evaluator) if evaluator in _LIBRARIES else detect.__version__,
    }
