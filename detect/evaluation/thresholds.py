"""Choice of a score threshold for each class: for the highest F1, for a wanted precision or for a wanted recall."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detect.errors import UsageError
from detect.evaluation.columns import EvaluationTable
from detect.evaluation.curves import ScoreCurve, class_curves, mean_curve
from detect.evaluation.intervals import Interval, rate_intervals
from detect.evaluation.matching import Matching
from detect.evaluation.threshold_counts import counts_at
from detect.evaluation.threshold_settings import check_wanted
from detect.models import checkpoint
from detect.models.checkpoint_file import own_checkpoint, write_thresholds
from detect.text import counted, display_width, pad

MIN_OBJECTS = 10
"""A class with fewer objects gets the overall threshold, since its own depends on a few detections. On BCCD the F1 of
a threshold chosen on 5 objects was up to 0.04 below that of the overall threshold, on 10 objects up to 0.03."""

_TOLERANCE = 1e-9  # a mean of 0.95 can be computed as 0.9499999999999999
_GAP = 0.01  # assumed distance of the next score below the lowest one
_RATE = 23  # characters of a column with a rate and its interval
_Choice = Callable[[ScoreCurve, float], "int | None"]


@dataclass(frozen=True)
class ChosenThreshold:
    """A score threshold, and what it achieves on the images on which it was chosen.

    threshold: minimum score, 0..1; None if no threshold achieves what is wanted.
    precision, recall, f1: at the threshold, 0..1; None where undefined: the precision if nothing is detected, the
        others without objects, all without a threshold.
    objects: number of ground-truth objects, without crowd regions, on which it was chosen.
    precision_interval, recall_interval: 95 % intervals of precision and recall, (low, high); None if unknown.
    remark: why there is no threshold, or why it is not one of the class' own; "" otherwise.
    """

    threshold: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    objects: int
    remark: str = ""
    precision_interval: Interval = None
    recall_interval: Interval = None


@dataclass(frozen=True)
class Thresholds:
    """Score thresholds chosen by one rule.

    rule: in words, such as "highest F1" or "precision of at least 0.95".
    overall: one threshold for all classes; its precision, recall and F1 are means over the classes with objects.
    classes: class name -> its threshold. A class with fewer than 10 objects, or without a correct detection if the
        highest F1 is wanted, has the overall threshold.
    source: where they were chosen, as plain values, such as ``{"dataset": "balloon", "split": "val", "images": 13}``.
    """

    rule: str
    overall: ChosenThreshold
    classes: dict[str, ChosenThreshold]
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Class name -> minimum score, for the classes that have one."""
        return {name: one.threshold for name, one in self.classes.items() if one.threshold is not None}

    def array(self, default: float) -> np.ndarray:
        """Return the threshold of each class, float64 [K], ``default`` where there is none."""
        return np.array([default if one.threshold is None else one.threshold for one in self.classes.values()])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        classes = {name: dict(vars(one)) for name, one in self.classes.items()}
        return {"rule": self.rule, **self.source, "overall": dict(vars(self.overall)), "classes": classes}

    def write(self, model: str | Path) -> dict[str, float]:
        """Store the thresholds in the checkpoint file ``model`` and return them: class name -> minimum score.

        Whoever loads the checkpoint uses them by default from then on. Former ones are removed; a class without a
        threshold has that of the whole checkpoint. Raises UsageError if no class of the model has a threshold, and as
        ``class_thresholds.write_thresholds`` does.
        """
        known = checkpoint.load(own_checkpoint(model, "thresholds")).class_names.names
        values = {name: threshold for name, threshold in self.values.items() if name in known}
        if not values:
            raise UsageError(f"no threshold is stored in {model}, since no class has one: {self.overall.remark}")
        write_thresholds(model, values, {"rule": self.rule, **self.source})
        return values

    def one_line(self) -> str:
        """Return the overall threshold in words."""
        one = self.overall
        if one.threshold is None:
            return f"no threshold for the {self.rule}: {one.remark}"
        remark = f"; {one.remark}" if one.remark else ""
        values = f"precision {one.precision:.3f}, recall {one.recall:.3f}, F1 {one.f1:.3f}"
        return f"threshold {one.threshold:.3g} ({self.rule}): {values} at IoU 0.5{remark}"

    def table(self) -> str:
        """Return the thresholds as a text table: a row for all classes and, if there are several, one per class."""
        rows = {"all classes": self.overall} | self.classes if len(self.classes) > 1 else self.classes
        width = max(map(display_width, rows))
        head = f"{'objects':>9}{'threshold':>11}{'precision':>{_RATE}}{'recall':>{_RATE}}{'F1':>7}"
        return "\n".join([" " * width + head, *(pad(name, width) + _row(one) for name, one in rows.items())])


def choose_thresholds(
    table: EvaluationTable, matching: Matching, *, precision: float | None = None, recall: float | None = None
) -> Thresholds:
    """Return the threshold of each class with the highest F1; of several, the highest one.

    matching: its first area range and first IoU threshold decide what is correct.
    precision: if given, 0..1, choose the lowest threshold with at least this precision, so the highest recall.
    recall: if given, 0..1, choose the highest threshold with at least this recall.

    Thresholds lie between two scores, far from both, so that scores that differ slightly on another machine do not
    change what is kept. Raises UsageError if both are given or one is outside 0..1.
    """
    rule = _rule(precision, recall)
    curves = class_curves(table, matching)
    overall = rule.choose(mean_curve(curves))
    if overall.objects < MIN_OBJECTS and not overall.remark:
        overall = replace(overall, remark=f"chosen on only {counted(overall.objects, 'object')}")
    classes = dict(zip(table.class_names.names, (_of_class(rule, curve, overall) for curve in curves), strict=True))
    if len(classes) == 1:
        classes = dict.fromkeys(classes, overall)
    return Thresholds(rule.name, overall, classes)


def with_intervals(chosen: Thresholds, table: EvaluationTable, matching: Matching) -> Thresholds:
    """Return the thresholds with the 95 % intervals of their precision and recall.

    table, matching: those that they were chosen by. The intervals treat each threshold as given in advance: they
    ignore that it was chosen on the same images.
    """

    def intervals_at(thresholds: np.ndarray) -> tuple[dict[str, Interval], list[dict[str, Interval]]]:
        return rate_intervals(counts_at(table, matching, thresholds))

    def extended(one: ChosenThreshold, found: dict[str, Interval]) -> ChosenThreshold:
        if one.threshold is None:
            return one
        return replace(one, precision_interval=found["precision"], recall_interval=found["recall"])

    _, of_class = intervals_at(chosen.array(default=1.0))
    rows = zip(chosen.classes.items(), of_class, strict=True)
    classes = {name: extended(one, found) for (name, one), found in rows}
    if chosen.overall.threshold is None:
        return replace(chosen, classes=classes)
    mean, _ = intervals_at(np.full(table.num_classes, chosen.overall.threshold))
    return replace(chosen, classes=classes, overall=extended(chosen.overall, mean))


@dataclass(frozen=True)
class _Rule:
    """What is wanted: ``value`` of the metric ``metric``, or the highest F1."""

    metric: str
    value: float
    point: _Choice

    @property
    def name(self) -> str:
        return "highest F1" if self.metric == "f1" else f"{self.metric} of at least {self.value:g}"

    def choose(self, curve: ScoreCurve) -> ChosenThreshold:
        """Return the threshold that the rule chooses on a curve."""
        point = self.point(curve, self.value) if curve.objects else None
        if point is None:
            return ChosenThreshold(None, None, None, None, curve.objects, self._why_none(curve))
        return _at(curve, _threshold_at(curve.scores, point))

    def _why_none(self, curve: ScoreCurve) -> str:
        if not curve.objects:
            return "no objects"
        values = getattr(curve, self.metric)
        if not values.size:
            return "nothing is detected"
        best = int(np.argmax(values))
        if values[best] == 0:
            return "no detection is correct"
        at = f"{_threshold_at(curve.scores, best):.3g}"
        return f"{self.metric} {self.value:g} is never reached; the best is {values[best]:.4g} at threshold {at}"


def _rule(precision: float | None, recall: float | None) -> _Rule:
    check_wanted(precision, recall)
    if precision is not None:
        return _Rule("precision", float(precision), _lowest_with_precision)
    if recall is not None:
        return _Rule("recall", float(recall), _highest_with_recall)
    return _Rule("f1", 0.0, _highest_f1)


def _highest_f1(curve: ScoreCurve, _: float) -> int | None:
    return int(np.argmax(curve.f1)) if curve.f1.max(initial=0) > 0 else None


def _lowest_with_precision(curve: ScoreCurve, precision: float) -> int | None:
    reached = np.flatnonzero(curve.precision >= precision - _TOLERANCE)
    return int(reached[-1]) if len(reached) else None


def _highest_with_recall(curve: ScoreCurve, recall: float) -> int | None:
    reached = np.flatnonzero(curve.recall >= recall - _TOLERANCE)
    return int(reached[0]) if len(reached) else None


def _of_class(rule: _Rule, curve: ScoreCurve, overall: ChosenThreshold) -> ChosenThreshold:
    own = rule.choose(curve)
    if curve.objects < MIN_OBJECTS:
        reason = f"only {counted(curve.objects, 'object')}" if curve.objects else "no objects"
    elif own.threshold is None and rule.metric == "f1":
        reason = own.remark
    else:
        return own
    if overall.threshold is None:
        return replace(
            own,
            threshold=None,
            precision=None,
            recall=None,
            f1=None,
            remark=f"{reason}, and over all classes: {overall.remark}",
        )
    return replace(_at(curve, overall.threshold), remark=f"{reason}: threshold of all classes")


def _at(curve: ScoreCurve, threshold: float) -> ChosenThreshold:
    precision, recall, f1 = (None if np.isnan(value) else float(value) for value in curve.at(np.array(threshold)))
    return ChosenThreshold(threshold, precision, recall, f1, curve.objects)


def _threshold_at(scores: np.ndarray, point: int) -> float:
    """Return a threshold that keeps ``scores[point]`` and excludes the next one. scores: float64 [S], descending."""
    kept = float(scores[point])
    excluded = float(scores[point + 1]) if point + 1 < len(scores) else max(kept - _GAP, 0.0)
    return between(excluded, kept)


def between(low: float, high: float) -> float:
    """Return the number with the fewest decimals in the middle half between two scores, ``low < high``.

    As float32 it is above ``low`` and at most ``high``.
    """
    quarter = (high - low) / 4
    for decimals in range(2, 9):
        rounded = round((low + high) / 2, decimals)
        if low + quarter <= rounded <= high - quarter and low < np.float32(rounded):
            return rounded
    return high


def _row(one: ChosenThreshold) -> str:
    threshold, f1 = ("-" if value is None else f"{value:.3f}" for value in (one.threshold, one.f1))
    rates = ((one.precision, one.precision_interval), (one.recall, one.recall_interval))
    cells = "".join(f"{_rate(*pair):>{_RATE}}" for pair in rates)
    return f"{one.objects:>9}{threshold:>11}{cells}{f1:>7}" + (f"  {one.remark}" if one.remark else "")


def _rate(value: float | None, ends: Interval) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if ends is None else "{:.3f} [{:.3f}, {:.3f}]".format(value, *ends)
