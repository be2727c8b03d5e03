"""Tests of the self-test that need no model: the metrics themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from detect.evaluation import DEFAULT_EVALUATOR, coco_metrics
from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.detection_limit import ap_without_errors
from detect.evaluation.selftest_subject import Outcome, Subject, failed, passed
from detect.structures import masks
from detect.structures.detections import Detections
from detect.text import counted, first_few

_KINDS = {"bbox": "boxes", "segm": "masks"}
_ROUNDING = 1e-9  # sums in another order differ by less


def ground_truth_as_predictions(subject: Subject) -> Outcome:
    """Score the annotations of the whole split as if a model had detected them. Crowd regions are left out."""
    found = [_as_detections(Detections.of_record(record), record.iscrowd) for record in subject.records]
    scores = coco_metrics.score(subject.records, found, subject.class_names, limit=subject.limit)
    table = evaluation_table(subject.records, found, subject.class_names)
    wrong, limited = [], []
    for kind in table.kinds:
        for name, reachable in zip(subject.class_names.names, _reachable(table, subject.limit), strict=True):
            value = scores["classes"][name][kind]["AP"]
            if value is None:
                continue
            if abs(value - reachable) > _ROUNDING:
                wrong.append(f"{name} {value:.3f} instead of {reachable:.3f} ({_KINDS[kind]})")
            elif reachable < 1:
                limited.append(f"{name} {reachable:.3f} ({_KINDS[kind]})")
    if wrong:
        return failed(
            f"AP of {first_few(wrong, 3)}; annotations do not count as correct detections, so no metric can be"
            " trusted: check boxes, masks and class ids of the annotations with doctor.py check"
        )
    of = " and ".join(_KINDS[kind] for kind in table.kinds)
    classes = sum(one["bbox"]["AP"] is not None for one in scores["classes"].values())
    if limited:
        why = f"more than {subject.limit} objects in an image are not scored, masks without a pixel not found"
        return passed(f"AP of {of} is the highest possible one, which is below 1 for {first_few(limited)}: {why}")
    return passed(f"AP 1.000 of {of} in {counted(classes, 'class', 'classes')}")


def _as_detections(found: Detections, iscrowd: np.ndarray) -> Detections:
    """Return what a perfect model finds: no crowd regions, and no objects whose mask has no pixel."""
    kept = ~iscrowd
    if found.masks is not None:
        kept = kept & np.array([masks.area(mask) > 0 for mask in found.masks], bool)
    return found[kept]


def _reachable(table: EvaluationTable, limit: int) -> np.ndarray:
    """Return the AP of each class, float64 [K], if every detection in ``table`` is right; NaN without objects."""
    scored = np.bincount(table.dt_label[table.dt_rank < limit], minlength=table.num_classes + 1)[1:]
    objects = np.bincount(table.gt_label[~table.gt_crowd], minlength=table.num_classes + 1)[1:]
    with np.errstate(invalid="ignore"):
        recall = scored / objects
    return np.where(objects > 0, ap_without_errors(recall), np.nan)


def metrics_of_pycocotools(subject: Subject) -> Outcome:
    """Compare every metric, of all classes and of each, with those of pycocotools."""
    own, reference = (
        dict(
            _leaves(
                coco_metrics.score(
                    subject.sample, subject.detections, subject.class_names, evaluator=evaluator, limit=subject.limit
                )
            )
        )
        for evaluator in (DEFAULT_EVALUATOR, "pycocotools")
    )
    differences = {name: _difference(value, reference[name]) for name, value in own.items()}
    worst = max(differences, key=lambda name: differences[name])
    found = counted(sum(map(len, subject.detections)), "detection")
    if differences[worst] > _ROUNDING:
        return failed(
            f"{worst} is {_shown(own[worst])} here and {_shown(reference[worst])} by pycocotools, which defines the"
            " metric: this is a bug of this toolkit; use `evaluator='pycocotools'`"
        )
    return passed(
        f"{len(own)} metrics of {found} in {counted(len(subject.sample), 'image')} are equal, up to"
        f" {_ROUNDING:g} for rounding"
    )


def _leaves(scores: dict[str, Any]) -> list[tuple[str, float | None]]:
    parts = [("all classes", scores), *scores["classes"].items()]
    return [
        (f"{kind} {metric} of {name}", value)
        for name, part in parts
        for kind in _KINDS
        if kind in part
        for metric, value in part[kind].items()
    ]


def _difference(a: float | None, b: float | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else float("inf")
    return abs(a - b)


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.6f}"
