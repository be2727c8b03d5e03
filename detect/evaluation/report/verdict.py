"""The verdict of a report: how good, where it fails, what to do."""

from __future__ import annotations

from typing import Any

import numpy as np

from detect.evaluation.diagnosis.finding import Severity, percent
from detect.evaluation.diagnosis.score_thresholds import f1_in_words, present_thresholds
from detect.evaluation.report.page import Page, percentage, span, value
from detect.text import counted

_ENOUGH = 0.02  # gain of F1 below which another threshold is not worth a change


def content(page: Page) -> dict[str, Any]:
    """Return the sentences, the title of the most important problem ("" if there is none), and the figures."""
    problem = next((finding.title for finding in page.findings if finding.severity is Severity.PROBLEM), "")
    what_to_do = [] if problem else [_no_fault(page), _what_to_do(page)]
    sentences = [_how_good(page), _trained_on(page), _where_it_fails(page), *what_to_do]
    return {"problem": problem, "sentences": [one for one in sentences if one], "tiles": _tiles(page)}


def _how_good(page: Page) -> str:
    analysis = page.analysis
    one = analysis.evaluation
    precision, recall = analysis.precision_and_recall()
    objects = int(analysis.is_object.sum())
    found = f"finds {percent(recall)} of the {counted(objects, 'object')}" if recall else "finds no object"
    correct = "" if precision is None else f", and {percent(precision)} of its detections are correct"
    ap50, ends = one.scores["bbox"]["AP50"], analysis.intervals["bbox"]["AP50"]
    interval = f" (95 % interval {span(ends)})" if ends else ""
    return (
        f"On {counted(len(one.records), 'image')} of {one.dataset} {one.split} the model {found} at its"
        f" {present_thresholds(analysis)}{correct}: AP50 is {value(ap50)}{interval}."
    )


def _trained_on(page: Page) -> str:
    known = int(page.analysis.is_trained_on.sum())
    if not known:
        return ""
    images = f"The model was trained on {known} of these images"
    total, ap50 = page.analysis.table.num_images, page.analysis.ap50_by_training[1]
    if ap50 is None:
        return f"{images}, so no figure here tells how well it works on new ones."
    return f"{images}: on the {total - known} others, which tell how it works on new ones, AP50 is {ap50:.3f}."


def _no_fault(page: Page) -> str:
    warnings = sum(finding.severity is Severity.WARNING for finding in page.findings)
    return "No fault was found" + (f", but {counted(warnings, 'warning')} (see Likely causes)." if warnings else ".")


def _where_it_fails(page: Page) -> str:
    analysis = page.analysis
    one = analysis.evaluation
    errors = one.top_errors(1)
    if not np.isfinite(analysis.found_score).any():
        return "No detection of any score is correct."
    if not errors:
        return "No type of error costs a tenth of a point of AP50."
    known = {name: scores["bbox"]["AP50"] for name, scores in one.scores["classes"].items()}
    known = {name: ap50 for name, ap50 in known.items() if ap50 is not None}
    weakest = ""
    if len(known) > 1:
        name = min(known, key=lambda name: known[name])
        weakest = f"; the weakest class is {name} (AP50 {known[name]:.2f})"
    return f"Most AP is lost because {errors[0]}{weakest}."


def _what_to_do(page: Page) -> str:
    best = page.analysis.chosen.overall
    if best.threshold is None or best.f1 is None:
        return f"No threshold can be recommended: {best.remark}."
    f1 = float(np.nanmean(page.analysis.counts.rates()[2]))
    if best.f1 - f1 < _ENOUGH:
        return f"Keep the {present_thresholds(page.analysis)}: no single threshold has a much better F1 than {f1:.2f}."
    better = f"{f1_in_words(page.analysis)} is {best.f1:.2f} there, and {f1:.2f} at the present one"
    if page.analysis.evaluation.split == "val":
        return f"Use a threshold of {best.threshold:.2f}: {better}."
    return f"A threshold of {best.threshold:.2f} suits these images better: {better}; choose it on val."


def _tiles(page: Page) -> list[dict[str, str]]:
    one = page.analysis.evaluation
    intervals = page.analysis.intervals
    precision, recall = page.analysis.precision_and_recall()
    threshold = present_thresholds(page.analysis).replace(" of", "")
    known = int(page.analysis.is_trained_on.sum())
    remark = f"with {counted(known, 'training image')}" if known else ""
    tiles = [
        {
            "name": f"{metric} of {noun}",
            "value": value(one.scores[kind][metric]),
            "note": span(intervals[kind][metric]),
            "remark": remark,
        }
        for kind, noun in page.metric_kinds.items()
        for metric in ("AP50", "AP")
    ]
    return [
        *tiles,
        {"name": "objects found", "value": percentage(recall), "note": threshold, "remark": remark},
        {"name": "detections correct", "value": percentage(precision), "note": threshold, "remark": remark},
    ]
