"""The curves of a report: precision, recall, F1, thresholds, calibration, false positives without objects."""

from __future__ import annotations

from typing import Any

from detect.evaluation.calibration import calibration
from detect.evaluation.curves import sampled_curves
from detect.evaluation.diagnosis.finding import Severity
from detect.evaluation.plots import f1_figure, precision_recall_figure, reliability_figure
from detect.evaluation.report.metrics import MAX_CLASSES
from detect.evaluation.report.page import Page
from detect.evaluation.threshold_counts import false_positives_without_objects
from detect.media.figures import svg


def content(page: Page) -> dict[str, Any]:
    """Return the diagrams, the thresholds of each class and the figures in the text."""
    analysis = page.analysis
    table, matching = analysis.table, analysis.errors.matching
    names = table.class_names.names
    curves = sampled_curves(table, matching)
    scores = calibration(table, matching)
    chosen = analysis.chosen.overall.threshold
    precision_recall = precision_recall_figure(
        curves.recalls, curves.precision_at_recall, names, curves.objects, "precision by recall, IoU 0.5", narrow=True
    )
    f1 = f1_figure(curves.thresholds, curves.f1, names, curves.objects, chosen, best=_best(page), narrow=True)
    return {
        "precision_recall": svg(precision_recall, "Precision by recall, one curve per class."),
        "f1": svg(f1, "F1 by score threshold, one curve per class."),
        "reliability": svg(reliability_figure(scores), "Fraction of correct detections by mean score."),
        "calibration": scores,
        "overall": analysis.chosen.overall,
        "classes": _thresholds(page)[:MAX_CLASSES],
        "is_unjudged": any(finding.severity is Severity.UNJUDGED for finding in page.findings),
        "without_objects": false_positives_without_objects(table, matching, analysis.thresholds),
    }


def _best(page: Page) -> list[tuple[float, float] | None]:
    """Return F1 and threshold of each class and of all together, as they are chosen."""
    chosen = page.analysis.chosen
    return [
        None if one.f1 is None or one.threshold is None else (one.f1, one.threshold)
        for one in (*chosen.classes.values(), chosen.overall)
    ]


def _thresholds(page: Page) -> list[dict[str, Any]]:
    """Return for each class the threshold with the highest F1 beside the present one."""
    analysis = page.analysis
    present = analysis.thresholds.tolist()
    f1 = analysis.counts.rates()[2].tolist()
    rows = [
        {"name": name, "best": best, "present": present[k], "f1": f1[k]}
        for k, (name, best) in enumerate(analysis.chosen.classes.items())
    ]
    return sorted(rows, key=lambda row: -row["best"].objects)
