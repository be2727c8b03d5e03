"""The checks of the diagnosis, in the order in which their findings are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from detect.errors import DetectError
from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.anchor_sizes import check_anchor_sizes
from detect.evaluation.diagnosis.annotations import check_annotations
from detect.evaluation.diagnosis.channel_order import check_channel_order
from detect.evaluation.diagnosis.class_confusion import check_class_names
from detect.evaluation.diagnosis.dataset_fit import (
    check_any_correct,
    check_classes,
    check_images_without_detections,
    check_limit,
    check_number_of_images,
)
from detect.evaluation.diagnosis.finding import Finding, Severity
from detect.evaluation.diagnosis.object_sizes import check_image_size, check_object_sizes
from detect.evaluation.diagnosis.score_thresholds import check_thresholds
from detect.evaluation.diagnosis.training_images import check_training_images
from detect.evaluation.diagnosis.training_progress import check_training
from detect.progress import warn

Check = Callable[[Analysis], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    check_training_images,
    check_class_names,
    check_channel_order,
    check_anchor_sizes,
    check_thresholds,
    check_classes,
    check_image_size,
    check_object_sizes,
    check_annotations,
    check_any_correct,
    check_images_without_detections,
    check_limit,
    check_number_of_images,
    check_training,
)
SLOW_CHECKS: tuple[Check, ...] = (check_channel_order,)
"""Checks that run the model again."""

_TITLES: dict[Check, str] = {
    check_thresholds: "threshold",
    check_object_sizes: "object sizes",
    check_annotations: "missing annotations",
}
_UNJUDGED: dict[Check, tuple[Check, ...]] = {
    check_class_names: (check_thresholds, check_object_sizes),
    check_channel_order: tuple(_TITLES),
    check_any_correct: tuple(_TITLES),
}
"""Check that found a problem -> the checks that have no meaning until it is fixed."""


def find_causes(analysis: Analysis, *, probe: bool = True) -> list[Finding]:
    """Return the findings of all checks, problems first.

    probe: whether to run the model again, on at most 16 images.
    A check whose images cannot be read any more is left out with a warning.
    """
    found: dict[Check, list[Finding]] = {}
    for check in CHECKS:
        if probe or check not in SLOW_CHECKS:
            try:
                found[check] = list(check(analysis))
            except DetectError as error:
                warn(f"a check of the report is left out: {error}")
    if _has_problem(found.get(check_channel_order, [])):
        found[check_class_names] = [_explained(finding) for finding in found.get(check_class_names, [])]
    for check, others in _UNJUDGED.items():
        if _has_problem(found.get(check, [])):
            found |= {other: [Finding(Severity.UNJUDGED, _TITLES[other], "")] for other in others if found.get(other)}
    return sorted((one for every in found.values() for one in every), key=lambda finding: finding.severity)


def _has_problem(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.PROBLEM for finding in findings)


def _explained(finding: Finding) -> Finding:
    """Return a finding on confused classes of a model that expects another channel order."""
    if finding.severity is Severity.FINE:
        return finding
    advice = "Fix the order of the channels first, and evaluate again: it can be the cause of these confusions."
    return replace(finding, severity=Severity.WARNING, advice=advice)
