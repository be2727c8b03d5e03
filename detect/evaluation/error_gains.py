"""The AP that a model would gain if all its errors of one type were fixed: dAP of TIDE, see ``error_analysis``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detect.evaluation.average_precision import objects_per_class, precision_and_recall
from detect.evaluation.columns import EvaluationTable
from detect.evaluation.error_analysis import ERROR_TYPES, ErrorAnalysis, ErrorType
from detect.evaluation.matching import Matching

FALSE_POSITIVES, FALSE_NEGATIVES = "false_positives", "false_negatives"
GAIN_NAMES = (*(kind.name.lower() for kind in ERROR_TYPES), FALSE_POSITIVES, FALSE_NEGATIVES)

Fixed = tuple[EvaluationTable, Matching]


@dataclass(frozen=True)
class ErrorGains:
    """AP at the IoU threshold of an analysis, and what fixing errors would add to it; all 0..1.

    Fixing means: a classification or localization error becomes correct if it has the highest score of those that
    concern its object and the object is not detected, else it is removed; other false positives are removed; a missed
    object is no longer counted. "false_positives" sets the scores of all false positives to 0 and of all correct
    detections to 1; "false_negatives" counts only objects that are detected. The gains do not add up to 1 - AP, since
    each is computed alone.

    ap: mean over classes with objects.
    overall: gain of each of GAIN_NAMES. A class with only missed objects and no detections leaves the mean when
        its misses are fixed, as in tidecv. All 0.0 if there are no objects.
    class_ap: AP of each class with objects, by class name.
    classes: gains of each class with objects, by class name.
    """

    ap: float
    overall: dict[str, float]
    class_ap: dict[str, float]
    classes: dict[str, dict[str, float]]


def error_gains(analysis: ErrorAnalysis) -> ErrorGains:
    """Compute the AP gained by fixing the errors of each type, as tidecv does.

    Unlike tidecv's, the mean excludes classes without objects, as COCO's AP does.
    """
    table, matching = analysis.table, analysis.matching
    evaluated = objects_per_class(table, matching)[:, 0] > 0
    if not evaluated.any():
        return ErrorGains(0.0, dict.fromkeys(GAIN_NAMES, 0.0), {}, {})
    names = [name for name, kept in zip(table.class_names.names, evaluated.tolist(), strict=True) if kept]
    ap = _class_aps(table, matching)[evaluated]
    overall: dict[str, float] = {}
    classes: dict[str, dict[str, float]] = {name: {} for name in names}
    for gain, fixed in _all_fixed(analysis).items():
        fixed_ap = _class_aps(*fixed)[evaluated]
        overall[gain] = _mean(fixed_ap) - _mean(ap)
        for name, value in zip(names, (np.nan_to_num(fixed_ap, nan=1.0) - ap).tolist(), strict=True):
            classes[name][gain] = value
    return ErrorGains(_mean(ap), overall, dict(zip(names, ap.tolist(), strict=True)), classes)


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; 1.0 if all are, because then no error is left."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else 1.0


def _class_aps(table: EvaluationTable, matching: Matching) -> np.ndarray:
    """Return the AP of each class, float64 [K]: without objects 0 if something is detected as the class, else NaN."""
    precision, _ = precision_and_recall(table, matching, (1,))
    is_empty = np.bincount(table.dt_label[matching.counts[0, 0]], minlength=table.num_classes + 1)[1:] == 0
    ap = precision[0, :, :, 0].mean(axis=0)
    return np.where(ap < 0, np.where(is_empty, np.nan, 0.0), ap)


def _all_fixed(analysis: ErrorAnalysis) -> dict[str, Fixed]:
    """Return the table and the matching after fixing the errors of each type."""
    of_detections = [kind for kind in ERROR_TYPES if kind is not ErrorType.MISSED]
    table, matching = analysis.table, analysis.matching
    certain = replace(table, dt_scores=matching.correct[0, 0].astype(np.float64))
    return {
        **{kind.name.lower(): _without(analysis, kind) for kind in of_detections},
        "missed": (table, _uncounted_objects(matching, analysis.object_error == ErrorType.MISSED)),
        FALSE_POSITIVES: (certain, matching),
        FALSE_NEGATIVES: (table, _uncounted_objects(matching, analysis.object_error != ErrorType.NONE)),
    }


def _without(analysis: ErrorAnalysis, kind: ErrorType) -> Fixed:
    """Return the table and the matching with the detections of one error type corrected or removed."""
    matching = analysis.matching
    objects = np.flatnonzero(analysis.object_error == kind)
    corrected = analysis.object_detection[objects]
    labels, considered = analysis.table.dt_label.copy(), matching.considered & (analysis.detection_error != kind)
    matched, ignored = matching.matched.copy(), matching.ignored.copy()
    labels[corrected], considered[corrected] = analysis.table.gt_label[objects], True
    matched[0, 0, corrected], ignored[0, 0, corrected] = objects, False
    return replace(analysis.table, dt_label=labels), replace(
        matching, matched=matched, ignored=ignored, considered=considered
    )


def _uncounted_objects(matching: Matching, objects: np.ndarray) -> Matching:
    return replace(matching, gt_ignored=matching.gt_ignored | objects)
