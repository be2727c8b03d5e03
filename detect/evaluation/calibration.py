"""Calibration: whether the scores of detections state the probability that they are correct.

Sources: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599, for the
reliability diagram and the expected calibration error; Kueppers et al., "Multivariate Confidence Calibration for
Object Detection", CVPR Workshops 2020, https://arxiv.org/abs/2004.13546, for detectors, where precision takes the
place of accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detect.evaluation.columns import EvaluationTable
from detect.evaluation.matching import Matching

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Detections of all classes in B bins of equal width by score. A bin excludes its lower limit.

    counts: int64 [B], number of detections.
    mean_score: float64 [B], 0..1, NaN in an empty bin.
    correct: float64 [B], fraction of correct detections, 0..1, NaN in an empty bin.
    """

    counts: np.ndarray
    mean_score: np.ndarray
    correct: np.ndarray

    @property
    def expected_error(self) -> float | None:
        """Expected calibration error, 0..1: the mean of |fraction correct - mean score| over all detections, each with
        the values of its bin. None without detections."""
        return self._mean(np.abs(self.correct - self.mean_score))

    @property
    def overconfidence(self) -> float | None:
        """Mean score minus fraction correct of all detections, -1..1; above 0 if the scores are too high. None without
        detections."""
        return self._mean(self.mean_score - self.correct)

    def _mean(self, values: np.ndarray) -> float | None:
        """Return the mean of a value per bin over all detections."""
        total = int(self.counts.sum())
        return float(np.nansum(values * self.counts) / total) if total else None


def calibration(table: EvaluationTable, matching: Matching, bins: int = BINS) -> Calibration:
    """Return how the scores of detections compare with the fraction of correct ones.

    matching: its first area range and first IoU threshold decide what is correct; ignored detections do not count.
    """
    counted = np.flatnonzero(matching.counts[0, 0])
    scores = table.dt_scores[counted]
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, scores) - 1, 0, bins - 1)
    counts, score_sums, correct = (
        np.bincount(index, weights=weights, minlength=bins)
        for weights in (np.ones(len(scores)), scores, matching.correct[0, 0][counted].astype(np.float64))
    )
    divisor = np.where(counts > 0, counts, np.nan)
    return Calibration(counts.astype(np.int64), score_sums / divisor, correct / divisor)
