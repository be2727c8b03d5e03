"""The most costly errors of a model in words, for the screen and for the report."""

from __future__ import annotations

from collections import Counter

import numpy as np

from detect.evaluation.error_analysis import ERROR_TYPES, ErrorAnalysis, ErrorType
from detect.evaluation.error_gains import ErrorGains
from detect.evaluation.matching import AREA_RANGES
from detect.text import counted

MIN_GAIN = 0.0005  # of AP, 0..1; a smaller gain rounds to 0.0 points

_SMALL_AREA = AREA_RANGES[1][1]  # COCO's "small", square pixels
_PHRASES = {  # what one detection or object is, what several are, and how it is fixed
    ErrorType.CLASSIFICATION: ("has the wrong class", "have the wrong class", "correcting"),
    ErrorType.LOCALIZATION: ("has an inaccurate {shape}", "have inaccurate {shape}", "correcting"),
    ErrorType.BOTH: (
        "has both the wrong class and an inaccurate {shape}",
        "have both the wrong class and inaccurate {shape}",
        "removing",
    ),
    ErrorType.DUPLICATE: ("repeats a detected object", "repeat detected objects", "removing"),
    ErrorType.BACKGROUND: ("shows no annotated object", "show no annotated object", "removing"),
    ErrorType.MISSED: ("is missed", "are missed", "finding"),
}


def top_errors(analysis: ErrorAnalysis, gains: ErrorGains, n: int = 3, *, min_score: float = 0.0) -> list[str]:
    """Return up to ``n`` sentences on the types of error that cost most AP, the most costly first.

    Such as "12 of 60 objects are missed (RBC: 9, WBC: 3): finding them would add 8.3 points of AP50". The list is
    empty if no type costs 0.05 points.

    min_score: if above 0, the sentences also say how many of the detections score at least as much.
    """
    costly = [kind for kind in ERROR_TYPES if gains.overall[kind.name.lower()] >= MIN_GAIN]
    costly.sort(key=lambda kind: -gains.overall[kind.name.lower()])
    return [_sentence(analysis, kind, gains.overall[kind.name.lower()], min_score) for kind in costly[:n]]


def _sentence(analysis: ErrorAnalysis, kind: ErrorType, gain: float, min_score: float) -> str:
    count = analysis.counts()[kind.name.lower()]
    one, several, fixing = _PHRASES[kind]
    if kind is ErrorType.MISSED:
        subject, details = f"{count} of {counted(analysis.num_objects, 'object')}", _missed(analysis)
    else:
        subject, details = counted(count, "detection"), _of_detections(analysis, kind)
        if min_score > 0:
            confident = analysis.counts(min_score)[kind.name.lower()]
            details.append(f"{confident} with a score of at least {min_score:.2f}")
    shape = ("box" if count == 1 else "boxes") if analysis.kind == "bbox" else ("mask" if count == 1 else "masks")
    phrase = (one if count == 1 else several).format(shape=shape)
    fact = f"{subject} {phrase}" + (f" ({'; '.join(details)})" if details else "")
    metric = f"AP{round(100 * analysis.iou_threshold)}"
    return f"{fact}: {fixing} {'it' if count == 1 else 'them'} would add {100 * gain:.1f} points of {metric}"


def _missed(analysis: ErrorAnalysis) -> list[str]:
    rows = np.flatnonzero(analysis.object_error == ErrorType.MISSED)
    small = int((analysis.table.gt_area[rows] < _SMALL_AREA).sum())
    sizes = [f"{small} smaller than 32 x 32 pixels"] if small > len(rows) / 2 else []
    return _classes(analysis, analysis.table.gt_label[rows]) + sizes


def _of_detections(analysis: ErrorAnalysis, kind: ErrorType) -> list[str]:
    names = analysis.table.class_names
    if kind is ErrorType.CLASSIFICATION:
        pairs = analysis.confusions().most_common(2)
        return [f"{names.name(a)} detected as {names.name(b)}: {count}" for (a, b), count in pairs]
    return _classes(analysis, analysis.table.dt_label[analysis.detection_error == kind])


def _classes(analysis: ErrorAnalysis, labels: np.ndarray) -> list[str]:
    """Return the two most frequent classes, if the dataset has several."""
    if analysis.table.num_classes == 1:
        return []
    frequent = Counter(labels.tolist()).most_common(2)
    return [", ".join(f"{analysis.table.class_names.name(label)}: {count}" for label, count in frequent)]
