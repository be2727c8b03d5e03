"""Figures of an evaluation beyond its metrics, computed once for thresholds, comparison, report and diagnosis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from detect.evaluation import coco_metrics
from detect.evaluation.columns import EvaluationTable, evaluation_table
from detect.evaluation.error_analysis import ErrorAnalysis, analyze_errors
from detect.evaluation.error_gains import ErrorGains, error_gains
from detect.evaluation.intervals import intervals_of
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.overlaps import Overlaps, find_overlaps
from detect.evaluation.saved_model import SavedModel, are_training_images, read_saved_model
from detect.evaluation.threshold_counts import Counts, counts_at, reaches
from detect.evaluation.thresholds import Thresholds, choose_thresholds, with_intervals
from detect.models.checkpoint import DEFAULT_THRESHOLD

if TYPE_CHECKING:
    from detect.evaluation.evaluate import Evaluation


@dataclass(eq=False)
class Analysis:
    """Figures of an evaluation, each computed on first use, of boxes at IoU 0.5 unless stated otherwise.

    evaluation: the Evaluation; its ``analysis`` is this object.
    """

    evaluation: Evaluation

    @cached_property
    def saved(self) -> SavedModel | None:
        """The checkpoint file of the model; None for a file of detections or a model that is not from a file."""
        predictor = self.evaluation.predictor
        return read_saved_model(predictor) if predictor else None

    @cached_property
    def is_trained_on(self) -> np.ndarray:
        """Whether the model was trained on each image, as far as its checkpoint states that, bool [I]."""
        digests = self.saved.train_digests if self.saved else frozenset()
        return are_training_images([record.path for record in self.evaluation.records], digests)

    @cached_property
    def ap50_by_training(self) -> tuple[float | None, float | None]:
        """AP50 of boxes, 0..1, on images that the model was trained on, and on the others; None without objects."""
        return self._ap50_of(self.is_trained_on), self._ap50_of(~self.is_trained_on)

    def _ap50_of(self, kept: np.ndarray) -> float | None:
        one, rows = self.evaluation, np.flatnonzero(kept).tolist()
        if not rows:
            return None
        records, detections = [one.records[i] for i in rows], [one.detections[i] for i in rows]
        return coco_metrics.score(records, detections, one.class_names, limit=self.limit)["bbox"]["AP50"]

    @cached_property
    def matched(self) -> MatchedTable:
        """``table`` with its overlaps and matches. Code that has it already for these detections assigns it."""
        one = self.evaluation
        return MatchedTable(evaluation_table(one.records, one.detections, one.class_names), self.limit)

    @property
    def table(self) -> EvaluationTable:
        """Ground truth and all evaluated detections: G objects and D detections of K classes."""
        return self.matched.table

    @property
    def limit(self) -> int:
        """Number of detections per image and class that are scored."""
        return coco_metrics.scored_limit(self.evaluation.scores)

    @cached_property
    def thresholds(self) -> np.ndarray:
        """Minimum score of each class that a user of the model sees, float64 [K]; 0.5 if the model states none."""
        one = self.evaluation
        stated = one.class_thresholds or (one.predictor.class_thresholds if one.predictor else {})
        return np.array([stated.get(name, DEFAULT_THRESHOLD) for name in one.class_names.names], np.float64)

    @cached_property
    def is_shown(self) -> np.ndarray:
        """Whether each detection reaches the threshold of its class, bool [D]."""
        return reaches(self.table, self.thresholds)

    @property
    def overlaps(self) -> Overlaps:
        """Overlaps of the boxes in ``table``."""
        return self.matched.overlaps("bbox")

    @cached_property
    def errors(self) -> ErrorAnalysis:
        """Errors of all evaluated detections."""
        return analyze_errors(self.table, self.overlaps, limit=self.limit)

    @cached_property
    def shown_errors(self) -> ErrorAnalysis:
        """Errors of the detections that reach their threshold; its ``table`` has only those."""
        table = with_detections(self.table, self.is_shown)
        return analyze_errors(table, find_overlaps(table, "bbox"), limit=self.limit)

    @cached_property
    def gains(self) -> dict[str, ErrorGains]:
        """Gains in AP50 from fixing errors, of boxes ("bbox") and, if there are masks, of masks ("segm")."""
        return {kind: error_gains(self._errors_of(kind)) for kind in self.table.kinds}

    def _errors_of(self, kind: str) -> ErrorAnalysis:
        if kind == "bbox":
            return self.errors
        return analyze_errors(self.table, self.matched.overlaps(kind), kind, limit=self.limit)

    @cached_property
    def found_score(self) -> np.ndarray:
        """Score of the correct detection of each object, float64 [G]; NaN if it has none."""
        matching = self.errors.matching
        correct = np.flatnonzero(matching.correct[0, 0])
        score = np.full(len(self.table.gt_image), np.nan)
        score[matching.matched[0, 0, correct]] = self.table.dt_scores[correct]
        return score

    @cached_property
    def is_found(self) -> np.ndarray:
        """Whether each object has a correct detection that reaches its threshold, bool [G]."""
        return self.found_score >= self.thresholds.astype(np.float32)[self.table.gt_label - 1]

    @cached_property
    def is_object(self) -> np.ndarray:
        """Whether each annotation is an object and not a crowd region, bool [G]."""
        return ~self.table.gt_crowd

    @cached_property
    def counts(self) -> Counts:
        """True positives, false positives and objects per image and class at the thresholds."""
        return counts_at(self.table, self.errors.matching, self.thresholds)

    @cached_property
    def chosen(self) -> Thresholds:
        """The thresholds with the highest F1, with intervals of their precision and recall."""
        return self.choose_thresholds()

    def choose_thresholds(self, precision: float | None = None, recall: float | None = None) -> Thresholds:
        """Choose thresholds as ``thresholds.choose_thresholds`` does, and add intervals of precision and recall."""
        table, matching = self.table, self.errors.matching
        return with_intervals(choose_thresholds(table, matching, precision=precision, recall=recall), table, matching)

    @cached_property
    def intervals(self) -> dict[str, Any]:
        """Confidence intervals as in ``intervals.ap_intervals``; those of the evaluation if it has them."""
        return self.evaluation.scores.get("intervals") or intervals_of(self.matched)

    def precision_and_recall(self) -> tuple[float | None, float | None]:
        """Return precision and recall, 0..1, of all detections together that reach their threshold.

        None without any detection, or without any object.
        """
        right, wrong = int(self.counts.true_positives.sum()), int(self.counts.false_positives.sum())
        objects = int(self.counts.objects.sum())
        return (right / (right + wrong) if right + wrong else None), (right / objects if objects else None)


def with_detections(table: EvaluationTable, kept: np.ndarray) -> EvaluationTable:
    """Return ``table`` with only the detections where ``kept``, bool [D], is true."""
    rows = np.flatnonzero(kept)
    columns = ("dt_image", "dt_label", "dt_boxes", "dt_scores", "dt_row")
    masks = None if table.dt_masks is None else [table.dt_masks[row] for row in rows.tolist()]
    return replace(table, dt_masks=masks, **{name: getattr(table, name)[rows] for name in columns})
