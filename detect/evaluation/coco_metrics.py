"""COCO's detection metrics (https://cocodataset.org/#detection-eval), by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detect.evaluation import DEFAULT_EVALUATOR, evaluators
from detect.evaluation.columns import evaluation_table
from detect.evaluation.detection_limit import STANDARD_LIMIT, limit_facts
from detect.evaluation.matched_table import MatchedTable
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

Scores = dict[str, float | None]

LIMIT = "detection_limit"
"""Key of the facts about the number of detections that are scored, see ``detection_limit.limit_facts``."""


def metric_names(limit: int = STANDARD_LIMIT) -> tuple[str, ...]:
    """Return the names of COCO's 12 metrics, if ``limit`` detections per image and class are scored."""
    return ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", f"AR{limit}", "ARs", "ARm", "ARl")


NAMES = metric_names()


def score(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    class_names: ClassNames,
    *,
    evaluator: str = DEFAULT_EVALUATOR,
    limit: int = STANDARD_LIMIT,
) -> dict[str, dict[str, Any]]:
    """Compute COCO's metrics of all classes and of each class, 0..1.

    detections: one Detections per record, with labels of ``class_names``.
    evaluator: one of EVALUATORS; all compute the same.
    limit: number of detections per image and class that are scored. Metrics with another limit than COCO's cannot be
        compared with COCO's, and "AR100" is then named after it.

    Returns ``{"bbox": {"AP": ..}, "segm": {..}, "classes": {NAME: {"bbox": {..}, "segm": {..}}}, "evaluator": {"name",
    "version"}, "detection_limit": {..}}``; the last as in ``detection_limit.limit_facts``. "segm" is there if both
    records and detections have masks. A value is None where COCO reports -1, because there is no ground truth of that
    class or size.
    Raises ValueError for unequal lengths, detections of another image size, and labels outside 1..K.
    """
    matched = MatchedTable(evaluation_table(records, detections, class_names), limit)
    return score_matched(matched, records, evaluator=evaluator)


def score_matched(
    matched: MatchedTable, records: Sequence[ImageRecord], *, evaluator: str = DEFAULT_EVALUATOR
) -> dict[str, dict[str, Any]]:
    """Compute the metrics of ``score`` from an existing table.

    records: records of the table.
    """
    class_names, limit = matched.table.class_names, matched.limit
    metrics: dict[str, dict[str, Any]] = {}
    classes: dict[str, dict[str, Scores]] = {name: {} for name in class_names.names}
    for kind in matched.table.kinds:
        result = evaluators.evaluate(matched, kind, evaluator)
        metrics[kind] = dict(zip(metric_names(limit), map(_none_if_negative, result.stats), strict=True))
        for index, name in enumerate(class_names.names):
            classes[name][kind] = _class_scores(result, index, limit)
    metrics["classes"] = classes
    metrics["evaluator"] = evaluators.name_and_version(evaluator)
    metrics[LIMIT] = limit_facts(records, len(class_names), limit)
    return metrics


def one_line(metrics: dict[str, dict[str, Any]]) -> str:
    """Return AP and AP50 of boxes and masks for a log: ``bbox AP 0.512 AP50 0.803  segm AP ...``.

    A limit on the number of detections that is not COCO's is stated: ``(maxDets 300)``.
    """
    parts = []
    for kind in ("bbox", "segm"):
        if kind in metrics:
            shown = [f"{n} -" if metrics[kind][n] is None else f"{n} {metrics[kind][n]:.3f}" for n in ("AP", "AP50")]
            parts.append(" ".join([kind, *shown]))
    if (limit := scored_limit(metrics)) != STANDARD_LIMIT:
        parts.append(f"(maxDets {limit})")
    return "  ".join(parts)


def scored_limit(metrics: dict[str, dict[str, Any]]) -> int:
    """Return the number of detections per image and class that were scored; files of earlier versions lack it."""
    return metrics.get(LIMIT, {}).get("per_image_and_class", STANDARD_LIMIT)


def _class_scores(result: evaluators.CocoResult, index: int, limit: int) -> Scores:
    precision, recall = result.precision[:, :, index], result.recall[:, index]
    return {
        "AP": mean_of_known(precision[:, :, 0]),
        "AP50": mean_of_known(precision[0, :, 0]),
        "AP75": mean_of_known(precision[5, :, 0]),
        "APs": mean_of_known(precision[:, :, 1]),
        "APm": mean_of_known(precision[:, :, 2]),
        "APl": mean_of_known(precision[:, :, 3]),
        f"AR{limit}": mean_of_known(recall[:, 0, -1]),
    }


def mean_of_known(values: np.ndarray) -> float | None:
    """Return the mean of precisions or recalls, 0..1, without those of -1; None if all are."""
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def _none_if_negative(value: float) -> float | None:
    return None if value < 0 else float(value)
