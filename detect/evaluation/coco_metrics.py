"""COCO's detection metrics (https://cocodataset.org/#detection-eval), by name and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from detect.evaluation import DEFAULT_EVALUATOR, bootstrap, evaluators
from detect.evaluation.coco_rows import to_coco_rows
from detect.evaluation.detection_limit import STANDARD_LIMIT, explain_limit, limit_facts
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import display_width, pad

Scores = dict[str, float | None]

LIMIT = "detection_limit"
"""Key of the facts about the number of detections that are scored, see ``detection_limit.limit_facts``."""

_INTERVAL_WIDTH = len(" [0.123, 0.456]")


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
    "version"}, "detection_limit": {..}}``; the last as of ``detection_limit.limit_facts``. "segm" is there if both
    records and detections have masks. A value is None where COCO reports -1, because there is no ground truth of that
    class or size.
    Raises ValueError for unequal lengths, detections of another image size, and labels outside 1..K.
    """
    rows = to_coco_rows(records, detections, class_names)
    metrics: dict[str, dict[str, Any]] = {}
    classes: dict[str, dict[str, Scores]] = {name: {} for name in class_names.names}
    for kind in rows.kinds:
        result = evaluators.evaluate(rows, kind, evaluator, limit)
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
    if (limit := _limit(metrics)) != STANDARD_LIMIT:
        parts.append(f"(maxDets {limit})")
    return "  ".join(parts)


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """Return the metrics as a text table: a row for boxes, one for masks, and with several classes the same per class.

    Further lines say if the limit on the number of detections is not COCO's, and if it excludes objects. If
    ``metrics`` has ``intervals`` (see ``bootstrap.intervals``), AP and AP50 show them and the last lines explain them.
    """
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", f"AR{_limit(metrics)}")
    intervals = metrics.get("intervals")
    wide = bootstrap.INTERVAL_METRICS if intervals else ()  # columns with an interval
    rows = [("", [f"{name:>8}" + " " * _INTERVAL_WIDTH * (name in wide) for name in names])]
    for title, scores, own in _table_rows(metrics, intervals):
        cells = [f"{_value(scores.get(name))}{_interval(own.get(name)) if name in wide else ''}" for name in names]
        rows.append((title, cells))
    width = max(display_width(title) for title, _ in rows)
    lines = [pad(title, width) + "".join(cells) for title, cells in rows]
    lines += explain_limit(metrics[LIMIT]) if LIMIT in metrics else []
    return "\n".join([*lines, bootstrap.explanation(intervals)] if intervals else lines)


def _limit(metrics: dict[str, dict[str, Any]]) -> int:
    """Return the number of detections per image and class that were scored; files of earlier versions lack it."""
    return metrics.get(LIMIT, {}).get("per_image_and_class", STANDARD_LIMIT)


def _table_rows(
    metrics: dict[str, dict[str, Any]], intervals: dict[str, Any] | None
) -> Iterator[tuple[str, Scores, dict[str, bootstrap.Interval]]]:
    """Yield title, metrics and intervals of each row of the table."""
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    for kind in kinds:
        yield kind, metrics[kind], intervals[kind] if intervals else {}
    for name, scores in metrics["classes"].items() if len(metrics["classes"]) > 1 else ():
        for kind in kinds:
            yield f"{kind} {name}", scores[kind], intervals["classes"][name][kind] if intervals else {}


def _value(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>8}"


def _interval(ends: bootstrap.Interval) -> str:
    return f"{'-' if ends is None else '[{:.3f}, {:.3f}]'.format(*ends):>{_INTERVAL_WIDTH}}"


def _class_scores(result: evaluators.CocoResult, index: int, limit: int) -> Scores:
    precision, recall = result.precision[:, :, index], result.recall[:, index]
    return {
        "AP": _mean(precision[:, :, 0, -1]),
        "AP50": _mean(precision[0, :, 0, -1]),
        "AP75": _mean(precision[5, :, 0, -1]),
        "APs": _mean(precision[:, :, 1, -1]),
        "APm": _mean(precision[:, :, 2, -1]),
        "APl": _mean(precision[:, :, 3, -1]),
        f"AR{limit}": _mean(recall[:, 0, -1]),
    }


def _mean(values: np.ndarray) -> float | None:
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def _none_if_negative(value: float) -> float | None:
    return None if value < 0 else float(value)
