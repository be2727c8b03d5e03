"""COCO's detection metrics (https://cocodataset.org/#detection-eval): the figures, by name, and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from detect.evaluation import bootstrap, evaluators
from detect.evaluation.coco_rows import rows_of
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Scores = dict[str, float | None]

_INTERVAL = len(" [0.123, 0.456]")


def score(
    records: Sequence[ImageRecord],
    found: Sequence[Detections],
    class_names: ClassNames,
    *,
    evaluator: str = evaluators.DEFAULT,
) -> dict[str, dict[str, Any]]:
    """``{"bbox": {"AP": ..}, "segm": {..}, "classes": {NAME: {"bbox": {..}, "segm": {..}}}}``, 0..1, and under
    ``evaluator`` the name and version of the program that found them.

    found: one for each record, labels those of ``class_names``. ``segm`` only where ground truth and detections have masks.
    evaluator: one of ``EVALUATORS``, which all find the same.
    None stands where COCO says -1: no ground truth of that size or class to score. Raises ValueError for unequal lengths,
    for detections of another size of image, and for labels that ``class_names`` does not have.
    """
    rows = rows_of(records, found, class_names)
    out: dict[str, dict[str, Any]] = {}
    classes: dict[str, dict[str, Scores]] = {name: {} for name in class_names.names}
    for kind in rows.kinds:
        evaluation = evaluators.evaluate(rows, kind, evaluator)
        out[kind] = dict(zip(NAMES, map(_or_none, evaluation.stats), strict=True))
        for index, name in enumerate(class_names.names):
            classes[name][kind] = _of_class(evaluation, index)
    out["classes"] = classes
    out["evaluator"] = evaluators.named(evaluator)
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
    """The metrics as lines of text: one row for each kind and, with several classes, for each class.

    Where ``metrics`` has ``intervals``, as of ``uncertainty.intervals``, they stand behind their figures, and a last
    line says what they are.
    """
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
    intervals = metrics.get("intervals")
    wide = bootstrap.FIGURES if intervals else ()  # the columns with an interval
    rows = [("", [f"{name:>8}" + " " * _INTERVAL * (name in wide) for name in names])]
    for title, scores, own in _rows(metrics, intervals):
        cells = [f"{_figure(scores.get(name))}{_interval(own.get(name)) if name in wide else ''}" for name in names]
        rows.append((title, cells))
    width = max(len(title) for title, _ in rows)
    lines = [title.ljust(width) + "".join(cells) for title, cells in rows]
    return "\n".join([*lines, bootstrap.in_words(intervals)] if intervals else lines)


def _rows(
    metrics: dict[str, dict[str, Any]], intervals: dict[str, Any] | None
) -> Iterator[tuple[str, Scores, dict[str, bootstrap.Interval]]]:
    """Title, figures and intervals of each row of the table."""
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    for kind in kinds:
        yield kind, metrics[kind], intervals[kind] if intervals else {}
    for name, scores in metrics["classes"].items() if len(metrics["classes"]) > 1 else ():
        for kind in kinds:
            yield f"{kind} {name}", scores[kind], intervals["classes"][name][kind] if intervals else {}


def _figure(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>8}"


def _interval(ends: bootstrap.Interval) -> str:
    return f"{'-' if ends is None else '[{:.3f}, {:.3f}]'.format(*ends):>{_INTERVAL}}"


def _of_class(evaluation: evaluators.Evaluation, index: int) -> Scores:
    precision, recall = evaluation.precision[:, :, index], evaluation.recall[:, index]
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
