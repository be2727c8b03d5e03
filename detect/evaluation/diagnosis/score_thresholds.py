"""Compares the score thresholds of a model with those that would give the best F1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.evaluation.predict import EVALUATION_THRESHOLD

_MIN_LOSS = 0.1  # of F1, from which a threshold is wrong
_BIG_LOSS = 0.2


def check_thresholds(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether the thresholds of the model lose much F1 against the best single threshold."""
    if not analysis.is_object.any():
        return
    best = analysis.chosen.overall
    if best.threshold is None or best.f1 is None:
        return  # no detection is correct
    precision, recall = analysis.precision_and_recall()
    f1 = float(np.nanmean(analysis.counts.rates()[2]))
    reachable = float(np.isfinite(analysis.found_score[analysis.is_object]).mean())
    correct = "nothing is detected" if precision is None else f"{percent(precision)} of the detections are correct"
    found = f"At the {present_thresholds(analysis)}, {percent(recall or 0.0)} of the objects are found, and {correct}"
    seen = f"{found}; {f1_in_words(analysis)} is {f1:.2f}."
    if best.f1 - f1 < _MIN_LOSS:
        yield fine("Threshold", f"{seen} The best of a single threshold is {best.f1:.2f} at {best.threshold:.2f}.")
        return
    too_high = analysis.thresholds.mean() > best.threshold
    alternative = (
        f"At {best.threshold:.2f} it is {best.f1:.2f}; at {EVALUATION_THRESHOLD}, the lowest score that is evaluated,"
        f" {percent(reachable)} of the objects are found."
    )
    yield Finding(
        Severity.PROBLEM if best.f1 - f1 >= _BIG_LOSS else Severity.WARNING,
        f"The threshold is too {'high' if too_high else 'low'}",
        f"{seen} {alternative}",
        f"Use `threshold={best.threshold:.2f}`, or store better ones in the checkpoint (`write_thresholds`), chosen on"
        " val.",
    )


def f1_in_words(analysis: Analysis) -> str:
    """Return the F1 in words: that of the only class, or the mean over the classes."""
    return "F1" if len(analysis.thresholds) == 1 else "the mean F1 of the classes"


def present_thresholds(analysis: Analysis) -> str:
    """Return the thresholds of the model in words: ``threshold of 0.50`` or ``thresholds of 0.30 to 0.70``."""
    low, high = analysis.thresholds.min(), analysis.thresholds.max()
    if low == high:
        return f"threshold of {low:.2f}"
    return f"thresholds of {low:.2f} to {high:.2f}"
