"""Finds signs of missing annotations: confident detections where nothing is annotated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.evaluation.error_analysis import ErrorType
from detect.text import counted

CONFIDENT = 0.9
_FEW = 4  # detections
_MANY = 0.03  # of the objects


def check_annotations(analysis: Analysis) -> Iterator[Finding]:
    """Yield how many detections with a score of at least 0.9 show no annotated object."""
    is_confident = analysis.table.dt_scores >= CONFIDENT
    wrong = int((is_confident & (analysis.errors.detection_error == ErrorType.BACKGROUND)).sum())
    objects, confident = int(analysis.is_object.sum()), int(np.count_nonzero(is_confident))
    if not confident:
        return
    verb = "is" if wrong == 1 else "are"
    text = (
        f"{wrong} of {counted(confident, 'detection')} with a score of at least {CONFIDENT}"
        f" ({percent(wrong / confident)}) {verb} where nothing is annotated."
    )
    if wrong <= max(_FEW, _MANY * objects):
        yield fine("Annotations", text)
        return
    yield Finding(
        Severity.WARNING,
        "Annotations may be missing",
        text,
        "Look at the false positives below. Objects that nobody annotated lower the metrics, and in training they"
        " teach the model to miss objects. If they are not objects, train with images of them as `backgrounds`.",
    )
