"""The metrics of a report: overall and per class, with intervals and counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from detect.evaluation.coco_metrics import LIMIT
from detect.evaluation.detection_limit import explain_limit
from detect.evaluation.intervals import explanation
from detect.evaluation.report.page import Page, span, value

MAX_CLASSES = 200  # rows of a table of classes


def content(page: Page) -> dict[str, Any]:
    """Return the rows of the tables."""
    scores = page.analysis.evaluation.scores
    classes = sorted(_classes(page), key=lambda row: (row["sort"] is None, row["sort"]))
    return {
        "overall": [_overall(page, kind, noun) for kind, noun in page.metric_kinds.items()],
        "columns": [name for name in scores["bbox"] if name.startswith("AP") or name == _recall_name(page)],
        "classes": classes[:MAX_CLASSES],
        "more_classes": len(classes) - MAX_CLASSES,
        "explanation": _explanation(page),
        "remarks": explain_limit(scores[LIMIT]) if LIMIT in scores else [],
    }


def _explanation(page: Page) -> str:
    text = explanation(page.analysis.intervals).replace("\n", " ")
    return text.replace("no [low, high]: an", "An").replace("[low, high]:", "Below a value stands its")


def _recall_name(page: Page) -> str:
    return f"AR{page.analysis.limit}"


def _overall(page: Page, kind: str, noun: str) -> dict[str, Any]:
    scores, intervals = page.analysis.evaluation.scores[kind], page.analysis.intervals[kind]
    return {
        "name": noun,
        "values": {name: value(number) for name, number in scores.items()},
        "spans": {name: span(ends) for name, ends in intervals.items()},
    }


def _classes(page: Page) -> list[dict[str, Any]]:
    analysis = page.analysis
    table = analysis.table
    precision, recall, _ = analysis.counts.rates()
    of_class = [np.flatnonzero((table.gt_label == label) & analysis.is_object) for label in range(1, len(recall) + 1)]
    rows = []
    for k, (name, scores) in enumerate(analysis.evaluation.scores["classes"].items()):
        intervals = analysis.intervals["classes"][name]
        rows.append(
            {
                "name": name,
                "objects": len(of_class[k]),
                "images": len(np.unique(table.gt_image[of_class[k]])),
                "kinds": {
                    kind: [{"value": value(scores[kind][m]), "span": span(intervals[kind][m])} for m in ("AP50", "AP")]
                    for kind in page.metric_kinds
                },
                "precision": float(precision[k]),
                "recall": float(recall[k]),
                "sort": scores["bbox"]["AP50"],
            }
        )
    return rows
