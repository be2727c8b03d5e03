"""Suspected annotation errors, ranked by how reliable the model is that disagrees with the annotation.

A suspicion is a number in 0..1. It compares a case with similar cases in the same dataset, so the four kinds can be
ranked together:

- missing: a detection where nothing is annotated. Its suspicion is the fraction of the detections of this class with
  about this score that an annotation confirms. It is low if the detector is often wrong at that score.
- spurious: an annotation without a detection of any class. Its suspicion is the fraction of the annotations of this
  class and size that have a detection. A detection with a low score counts in part.
- wrong class: a detection of another class on an annotation. Its suspicion is that of a missing annotation, reduced if
  detections of the annotated class support the annotation.
- loose box: a detection of the annotated class with another box. Its suspicion is the probability that so low an IoU
  is unusual for this class, slightly reduced for a low score.

Source: Tkachenko et al., "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data", 2023,
https://arxiv.org/abs/2309.00832, for three of the kinds and for the comparison with similar cases. Its constants are
replaced by fractions that are measured on the dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.label_reliability import confirmed_fraction, mean_of_similar_sizes, outlier_probability
from detect.evaluation.matching import match
from detect.evaluation.overlaps import Overlaps, box_ious, find_overlaps

MISSING, SPURIOUS, WRONG_CLASS, LOOSE = KINDS = ("missing", "spurious", "wrong class", "loose box")
SAME_IOU = 0.5  # from which a detection and an annotation are the same object
NEAR_IOU = 0.2  # from which a detection can be meant for an annotation that does not fit
LIKELY = 0.5  # suspicion from which a suspect is counted and drawn
MIN_SUSPICION = 0.05  # weaker suspicions are not returned
_RELIABLE = 0.5  # only boxes of detections that are confirmed at least this often define the usual IoU
_INSIDE = (0.5, 1.0)  # a detection with more of its area inside an annotation of its class may be a part of the object
_LOOSE = (0.6, 0.85)  # no box of a higher IoU is called loose, however unusual it is
_POWER = 0.25  # exponent: a detection that is confirmed in 6 % of all cases supports its annotation by 0.5


class Suspect(NamedTuple):
    """One suspected annotation error.

    kind: one of KINDS.  suspicion: 0..1.
    ground_truth, detection: rows in the EvaluationTable, -1 for none: a missing annotation has no ground truth, a
        spurious one no detection.
    iou: IoU of both, 0..1; 0 if one is missing.
    """

    kind: str
    suspicion: float
    ground_truth: int
    detection: int
    iou: float


@dataclass(frozen=True)
class _Agreement:
    """How D detections and G annotations of a table agree.

    partner: int64 [D], annotation of the same class that each detection is meant for, or -1.
    iou: float64 [D], IoU with it; 0 without one.
    apart: float64 [D], how clearly each detection is another object than those annotated, 0..1.
    is_ignored: bool [D], in a crowd region, or one more detection of an annotated object.
    confirmed: float64 [D], fraction of detections of the class with such a score that are confirmed, 0..1.
    supported: float64 [G], how much the detections support each annotation, 0..1.
    """

    partner: np.ndarray
    iou: np.ndarray
    apart: np.ndarray
    is_ignored: np.ndarray
    confirmed: np.ndarray
    supported: np.ndarray


def find_suspects(table: EvaluationTable) -> list[Suspect]:
    """Return the suspected annotation errors of a table, the strongest suspicion first.

    The table should have detections with low scores too, from 0.05. Each annotation and each detection is in at most
    one suspect. Crowd regions, and detections in them, are in none.
    """
    overlaps = find_overlaps(table, "bbox")
    agreement = _agreement(table, overlaps)
    finders: tuple[Callable[[EvaluationTable, Overlaps, _Agreement], list[Suspect]], ...] = (
        _missing,
        _spurious,
        _wrong_class,
        _loose,
    )
    found = [suspect for finder in finders for suspect in finder(table, overlaps, agreement)]
    found = [suspect for suspect in found if suspect.suspicion >= MIN_SUSPICION]
    used: set[tuple[str, int]] = set()
    kept = []
    for suspect in sorted(found, key=lambda one: -one.suspicion):
        rows = {("annotation", suspect.ground_truth), ("detection", suspect.detection)} - _NONE
        if not rows & used:
            used |= rows
            kept.append(suspect)
    return kept


_NONE = {("annotation", -1), ("detection", -1)}


def _agreement(table: EvaluationTable, overlaps: Overlaps) -> _Agreement:
    partner, is_ignored = _partners(table, overlaps)
    single = overlaps.take(~table.gt_crowd[overlaps.ground_truth])
    same_class = single.take(table.dt_label[single.detection] == table.gt_label[single.ground_truth])
    iou = _highest(table, overlaps.take(partner[overlaps.detection] == overlaps.ground_truth))
    nearest_same = _highest(table, same_class)
    apart = 1 - _ramp(_highest(table, single), NEAR_IOU, SAME_IOU)
    apart *= 1 - _ramp(_highest(table, replace(same_class, iou=_fraction_inside(table, same_class))), *_INSIDE)
    is_partial = (partner < 0) & (nearest_same >= NEAR_IOU)  # such as the upper half of an annotated object
    confirmed = _by_class(table, is_ignored | is_partial, iou >= SAME_IOU)
    is_ignored |= (partner < 0) & (nearest_same >= SAME_IOU)
    supported = np.zeros(len(table.gt_image))
    rows = np.flatnonzero(partner >= 0)
    supported[partner[rows]] = confirmed[rows] * _ramp(iou[rows], NEAR_IOU, SAME_IOU)
    return _Agreement(partner, iou, apart, is_ignored, confirmed, supported)


def _highest(table: EvaluationTable, pairs: Overlaps) -> np.ndarray:
    """Return the highest value of ``pairs.iou`` of each detection, float64 [D]; 0 without a pair."""
    values = np.zeros(len(table.dt_image))
    np.maximum.at(values, pairs.detection, pairs.iou)
    return values


def _fraction_inside(table: EvaluationTable, pairs: Overlaps) -> np.ndarray:
    """Return which fraction of the detection of each pair lies inside the annotation, float64 [P], 0..1."""
    detected, annotated = table.dt_boxes[pairs.detection], table.gt_boxes[pairs.ground_truth]
    areas = (detected[:, 2:] - detected[:, :2]).prod(axis=1), (annotated[:, 2:] - annotated[:, :2]).prod(axis=1)
    return pairs.iou / (1 + pairs.iou) * (areas[0] + areas[1]) / np.maximum(areas[0], 1e-9)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 up to ``low``, 1 from ``high``, and proportional values between them."""
    return np.clip((values - low) / (high - low), 0, 1)


def _partners(table: EvaluationTable, overlaps: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Return ``_Agreement.partner``, and which detections lie in a crowd region.

    COCO's matching at IoU 0.5, and then at 0.2 what remains: only then is a box loose.
    """
    first = match(table, overlaps, iou_thresholds=np.array([SAME_IOU]))
    partner, is_ignored = first.matched[0, 0].astype(np.int64), first.ignored[0, 0].copy()
    is_taken = np.zeros(len(table.gt_image), bool)
    is_taken[partner[partner >= 0]] = True
    free = (
        (partner[overlaps.detection] < 0) & ~is_taken[overlaps.ground_truth] & ~table.gt_crowd[overlaps.ground_truth]
    )
    second = match(table, overlaps.take(free), iou_thresholds=np.array([NEAR_IOU])).matched[0, 0]
    in_crowd = overlaps.take(table.gt_crowd[overlaps.ground_truth] & (overlaps.iou >= SAME_IOU)).detection
    partner = np.where(partner >= 0, partner, second)
    is_ignored[in_crowd] |= partner[in_crowd] < 0
    partner[is_ignored] = -1
    return partner, is_ignored


def _by_class(table: EvaluationTable, is_left_out: np.ndarray, is_confirmed: np.ndarray) -> np.ndarray:
    """Return ``_Agreement.confirmed``."""
    confirmed = np.zeros(len(is_confirmed))
    for label in np.unique(table.dt_label).tolist():
        rows = np.flatnonzero(table.dt_label == label)
        used = rows[~is_left_out[rows]]
        confirmed[rows] = confirmed_fraction(table.dt_scores[used], is_confirmed[used], table.dt_scores[rows])
    return confirmed


def _missing(table: EvaluationTable, overlaps: Overlaps, agreement: _Agreement) -> list[Suspect]:
    suspicion = agreement.confirmed * agreement.apart
    suspicion[(agreement.partner >= 0) | agreement.is_ignored] = 0
    rows = np.flatnonzero(suspicion >= MIN_SUSPICION)
    rows = rows[np.argsort(-suspicion[rows], kind="stable")]
    return [Suspect(MISSING, float(suspicion[row]), -1, row, 0.0) for row in _without_duplicates(table, rows)]


def _without_duplicates(table: EvaluationTable, rows: np.ndarray) -> list[int]:
    """Return the detections at ``rows``, the best first, without those that overlap a better one, of any class."""
    kept: dict[int, list[int]] = {}
    for row in rows.tolist():
        others = kept.setdefault(int(table.dt_image[row]), [])
        if (
            not len(others)
            or (box_ious(np.tile(table.dt_boxes[row], (len(others), 1)), table.dt_boxes[others]) < SAME_IOU).all()
        ):
            others.append(row)
    return [row for others in kept.values() for row in others]


def _spurious(table: EvaluationTable, overlaps: Overlaps, agreement: _Agreement) -> list[Suspect]:
    other = _other_class(table, overlaps, agreement)
    support = agreement.supported.copy()
    np.maximum.at(support, other.ground_truth, agreement.confirmed[other.detection])
    suspects = []
    for label in np.unique(table.gt_label).tolist():
        rows = np.flatnonzero((table.gt_label == label) & ~table.gt_crowd)
        found = support[rows] ** _POWER
        suspicion = mean_of_similar_sizes(table.gt_area[rows], found) * (1 - found)
        suspects += [
            Suspect(SPURIOUS, s, row, -1, 0.0) for row, s in zip(rows.tolist(), suspicion.tolist(), strict=True)
        ]
    return suspects


def _wrong_class(table: EvaluationTable, overlaps: Overlaps, agreement: _Agreement) -> list[Suspect]:
    pairs = _other_class(table, overlaps, agreement)
    suspicion = agreement.confirmed[pairs.detection] * (1 - agreement.supported[pairs.ground_truth])
    columns = (suspicion, pairs.ground_truth, pairs.detection, pairs.iou)
    return [Suspect(WRONG_CLASS, *values) for values in zip(*(c.tolist() for c in columns), strict=True)]


def _other_class(table: EvaluationTable, overlaps: Overlaps, agreement: _Agreement) -> Overlaps:
    """Return the pairs of an annotation and a detection of another class that fits it and no annotation of its own."""
    d, g = overlaps.detection, overlaps.ground_truth
    is_other = (table.dt_label[d] != table.gt_label[g]) & (overlaps.iou >= SAME_IOU) & ~table.gt_crowd[g]
    return overlaps.take(is_other & (agreement.iou[d] < SAME_IOU) & ~agreement.is_ignored[d])


def _loose(table: EvaluationTable, overlaps: Overlaps, agreement: _Agreement) -> list[Suspect]:
    suspects = []
    for label in np.unique(table.dt_label).tolist():
        rows = np.flatnonzero((agreement.partner >= 0) & (table.dt_label == label))
        iou, confirmed = agreement.iou[rows], agreement.confirmed[rows]
        unusual = outlier_probability(iou, iou[confirmed >= _RELIABLE])
        suspicion = np.sqrt(confirmed) * unusual * (1 - _ramp(iou, *_LOOSE))
        columns = (suspicion, agreement.partner[rows], rows, iou)
        suspects += [Suspect(LOOSE, *values) for values in zip(*(c.tolist() for c in columns), strict=True)]
    return suspects
