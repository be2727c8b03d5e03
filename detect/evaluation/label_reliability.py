"""Estimates of how reliable a model's agreement and disagreement with annotations are, from the same annotations."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

_STEPS = 100  # of Newton's method, which needs about six
_MAX_STEP = 1.0  # of a coefficient; longer steps may overshoot
_PRIOR = 3.0  # weight of the prior; about that many examples outweigh it
_MIN_LOGIT, _MAX_LOGIT = -6.0, 6.0  # scores of 0.0025 and 0.9975; scores are clipped to this range
_NEIGHBORS = 50  # examples of about the same size that are averaged
_MIN_PAIRS = 30  # IoUs that define what is usual for a class
_QUARTILE = -NormalDist().inv_cdf(0.25)  # standard deviations between median and quartile


def confirmed_fraction(scores: np.ndarray, is_confirmed: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return which fraction of detections with each of the scores ``at``, float64 [M], is confirmed, 0..1.

    scores, is_confirmed: float64 and bool [N], the detections from which this is estimated.

    Logistic regression on the logit of the score (Platt scaling; Guo et al. 2017, https://arxiv.org/abs/1706.04599).
    It rises with the score. Without detections it is the score itself, which is also the prior of the regression.
    """
    x, y = _logit(scores), is_confirmed.astype(np.float64)
    slope, offset = 1.0, 0.0
    for _ in range(_STEPS):
        p = _logistic(slope * x + offset)
        weight = p * (1 - p)
        gradient = np.array([((y - p) * x).sum() - _PRIOR * (slope - 1), (y - p).sum() - _PRIOR * offset])
        mixed = (weight * x).sum()
        hessian = np.array([[(weight * x * x).sum() + _PRIOR, mixed], [mixed, weight.sum() + _PRIOR]])
        step = np.clip(np.linalg.solve(hessian, gradient), -_MAX_STEP, _MAX_STEP)
        slope, offset = slope + step[0], offset + step[1]
        if np.abs(step).max() < 1e-6:
            break
    return _logistic(max(slope, 0.0) * _logit(at) + offset)


def mean_of_similar_sizes(areas: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each of N areas, float64 [N], the mean of ``values``, 0..1, of the about 50 most similar areas.

    One example with the value 0 is added, so that few examples never suffice for a high mean.
    """
    count = len(areas)
    order = np.argsort(areas, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    width = min(_NEIGHBORS, count)
    first = np.clip(np.arange(count) - width // 2, 0, count - width)
    means = np.empty(count)
    means[order] = (sums[first + width] - sums[first]) / (width + 1)
    return means


def outlier_probability(iou: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the probability that each of the IoUs, float64 [N], does not belong to the usual ones, 0..1.

    usual: float64 [M], IoUs of the model's boxes with annotations, most of which are accurate.

    log(1 - IoU) of accurate annotations is taken as normal. Its median and its spread come from the better half, which
    inaccurate annotations do not reach. 1 minus the number of IoUs as low as this that the normal distribution
    predicts, divided by their actual number, is the probability (the complement of Efron's tail-area false discovery
    rate, https://doi.org/10.1017/CBO9780511761362).
    """
    if len(usual) < _MIN_PAIRS:
        return np.zeros(len(iou))
    gap, all_gaps = _log_gap(iou), np.sort(_log_gap(usual))
    quartile, median = np.quantile(all_gaps, [0.25, 0.5])
    normal = NormalDist(float(median), max(float(median - quartile) / _QUARTILE, 1e-3))
    predicted = np.array([1 - normal.cdf(value) for value in gap.tolist()]) * len(all_gaps)
    actual = np.maximum(len(all_gaps) - np.searchsorted(all_gaps, gap), 1)
    return np.clip(1 - predicted / actual, 0, 1)


def _logit(score: np.ndarray) -> np.ndarray:
    clipped = np.clip(score, 1e-9, 1 - 1e-9)
    return np.clip(np.log(clipped) - np.log1p(-clipped), _MIN_LOGIT, _MAX_LOGIT)


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _log_gap(iou: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(1 - iou, 1e-3))
