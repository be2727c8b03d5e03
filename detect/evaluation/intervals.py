"""Confidence intervals of AP, precision and recall, from random half samples of the images.

The images are split at random into two halves, 500 times, and each half is scored like a test set of its own.

- Standard error: the two halves are independent samples, so (AP_1 - AP_2) / 2 varies as the AP of all images does
  (P. J. McCarthy, Pseudo-replication: half samples, 1969; B. Efron, The Jackknife, the Bootstrap and Other Resampling
  Plans, 1982, chapter 8).
- Bias: COCO's precision is the best one at any higher recall, and a maximum over noise is too high, the more so the
  fewer images there are. In simulations this bias falls with the square root of the number of images. Halves are thus
  sqrt(2) times as biased, and the bias is 1 + sqrt(2) times the mean difference between the halves and all images (the
  generalized jackknife of W. R. Schucany, H. L. Gray and D. B. Owen, On Bias Reduction in Estimation, 1971). The rate
  is known only roughly, so a third of the bias counts as a further standard error.
- Interval: around the AP without its bias, on the logit scale, so that it stays within 0..1 (K. Boyd, K. Eng and C. D.
  Page, Area under the Precision-Recall Curve: Point Estimates and Confidence Intervals, 2013), with Student's t;
  extended to contain the AP of all images if that lies outside.

A bootstrap does not suit AP: copies of images add their own bias to that of the sample, and the interval of many noisy
classes then lies above its own estimate.

Limits: the intervals cover the choice of the test images, not the randomness of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from detect.evaluation.columns import evaluation_table
from detect.evaluation.detection_limit import STANDARD_LIMIT
from detect.evaluation.half_samples import Matches, average_precisions, half_samples, matches_per_class, nan_mean
from detect.evaluation.matched_table import MatchedTable
from detect.evaluation.threshold_counts import Counts
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

INTERVAL_METRICS = ("AP", "AP50")
CONFIDENCE = 0.95
SPLITS = 500
Interval = tuple[float, float] | None

_BIAS_FACTOR = 1 + np.sqrt(2)  # of a bias that falls with the square root of the number of images
_NO_ERROR = 1e-9  # standard errors and distances to 0 and 1 below this are rounding errors
_BIAS_ERROR = 1 / 3  # standard error of the estimated bias, as a fraction of it


def ap_intervals(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    class_names: ClassNames,
    *,
    splits: int = SPLITS,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    limit: int = STANDARD_LIMIT,
) -> dict[str, Any]:
    """Compute confidence intervals of AP and AP50, for all classes and for each class.

    records: at least one.
    detections: one Detections per record, with labels of ``class_names``.
    splits: number of times that the images are split into two halves.
    confidence: fraction of the intervals that contain the metric of an unlimited number of such images.
    limit: number of detections per image and class that are scored.

    Returns ``{"bbox": {"AP": (low, high), "AP50": ..}, "segm": {..}, "classes": {NAME: {"bbox": {..}, "segm": {..}}},
    "confidence", "half_samples", "seed", "images"}``. An interval contains its metric. It is None if fewer than two
    images contain objects. Raises ValueError as ``coco_metrics.score`` does.
    """
    matched = MatchedTable(evaluation_table(records, detections, class_names), limit)
    return intervals_of(matched, splits=splits, confidence=confidence, seed=seed)


def intervals_of(
    matched: MatchedTable, *, splits: int = SPLITS, confidence: float = CONFIDENCE, seed: int = 0
) -> dict[str, Any]:
    """Compute the intervals of ``ap_intervals`` from an existing table."""
    table = matched.table
    names = table.class_names.names
    samples = with_all_images(half_samples(table.num_images, splits, seed))
    result: dict[str, Any] = {}
    classes: dict[str, dict[str, dict[str, Interval]]] = {name: {} for name in names}
    for kind in table.kinds:
        matches = matches_per_class(table, matched.matching(kind))
        values = average_precisions(matches, samples)  # [K, metrics, samples]
        result[kind] = _intervals(values, images_with_objects(matches), confidence)
        for name, one, own in zip(names, matches, values, strict=True):
            classes[name][kind] = _intervals(own[None], images_with_objects([one]), confidence)
    result["classes"] = classes
    facts = {"confidence": confidence, "half_samples": 2 * splits, "seed": seed, "images": table.num_images}
    return result | facts


def rate_intervals(
    counts: Counts, *, splits: int = SPLITS, confidence: float = CONFIDENCE, seed: int = 0
) -> tuple[dict[str, Interval], list[dict[str, Interval]]]:
    """Return ``{"precision": (low, high), "recall": ..}`` of the mean over the classes with objects and of each class.

    counts: Counts at one threshold per class.
    An interval is None where the metric is undefined, and where fewer than two images have objects or, for the
    precision, detections.
    """
    samples = with_all_images(half_samples(len(counts.objects), splits, seed)).astype(np.float64)
    detected = counts.true_positives + counts.false_positives
    present = np.flatnonzero(counts.objects.sum(axis=0))
    mean: dict[str, Interval] = {}
    classes: list[dict[str, Interval]] = [{} for _ in range(counts.objects.shape[1])]
    for name, of in (("precision", detected), ("recall", counts.objects)):
        with np.errstate(invalid="ignore"):
            values = ((samples @ counts.true_positives) / (samples @ of)).T  # [K, 1 + 2 S]; NaN for 0 / 0
        images = int(np.count_nonzero(of[:, present].any(axis=1)))
        mean |= _intervals(values[present, None], images, confidence, (name,))
        for k, own in enumerate(classes):
            own |= _intervals(values[[k], None], int(np.count_nonzero(of[:, k])), confidence, (name,))
    return mean, classes


def explanation(result: dict[str, Any]) -> str:
    """Return one or two lines that explain the result of ``ap_intervals`` to readers of a table."""
    if result["bbox"]["AP"] is None:
        return "no [low, high]: an interval needs two or more images with objects"
    percent, images = f"{result['confidence'] * 100:g} %", result["images"]
    return (
        f"[low, high]: {percent} interval from {result['half_samples']} random halves of the {images} images. It shows"
        " how much\nanother choice of test images may change the metric, not how much another training may"
    )


def with_all_images(samples: np.ndarray) -> np.ndarray:
    """Return the samples, bool [R, I], behind a first one with all images."""
    return np.concatenate([np.ones((1, samples.shape[1]), bool), samples])


def images_with_objects(matches: Sequence[Matches]) -> int:
    """Return the number of images with an object of any of the classes."""
    return int(np.count_nonzero(np.sum([one.objects for one in matches], axis=0)))


def bias_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return bias and standard error of the mean of a metric over K classes.

    values: float64 [K, 1 + 2 S], the metric of each class for all images and for each half sample; NaN where there are
        no objects of the class.

    The bias is computed for each class and then averaged. The bias of the mean over classes would be wrong, because a
    half without objects of a class has a mean over other classes.
    """
    bias = _BIAS_FACTOR * nan_mean(nan_mean(values[:, 1:].T) - values[:, 0])
    halves = nan_mean(values[:, 1:])  # [2 S]
    spread = nan_mean(((halves[::2] - halves[1::2]) / 2) ** 2)
    return float(bias), float(np.sqrt(spread + (_BIAS_ERROR * bias) ** 2))


def interval_of_fraction(values: np.ndarray, images: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the ends of the interval of the mean over the classes of a metric in 0..1; NaN where it is undefined.

    values: as in ``bias_and_error``.  images: number of images with objects of any of the classes.
    The correction of the bias lowers the metric by at most half, and raises it by at most half of its distance to 1.
    If the metric is 1 in every half sample, or 0 in every one, these images do not show how much it varies. The
    interval is then that of as many trials without a failure, or without a success (C. J. Clopper and E. S. Pearson,
    The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial, 1934).
    """
    estimate, (bias, error) = float(nan_mean(values[:, 0])), bias_and_error(values)
    if error < _NO_ERROR:
        possible = 1 - ((1 - confidence) / 2) ** (1 / images)  # fraction of failures that may go unseen
        low = 1 - possible if estimate > 1 - _NO_ERROR else estimate
        return low, possible if estimate < _NO_ERROR else estimate
    unbiased = np.clip(estimate - bias, estimate / 2, (1 + estimate) / 2)
    reach = _reach(images, error, confidence) / (unbiased * (1 - unbiased))  # the slope of the logit
    low, high = expit(logit(unbiased) - reach), expit(logit(unbiased) + reach)
    return min(float(low), estimate), max(float(high), estimate)


def interval_of_difference(values: np.ndarray, images: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the ends of the interval of the difference of two models, within -1..1.

    values: differences of two metrics in 0..1 on the same samples, as in ``bias_and_error``.
    """
    estimate, (bias, error) = float(nan_mean(values[:, 0])), bias_and_error(values)
    reach = _reach(images, error, confidence)
    return max(min(estimate - bias - reach, estimate), -1.0), min(max(estimate - bias + reach, estimate), 1.0)


def _reach(images: int, error: float, confidence: float) -> float:
    return float(student.ppf((1 + confidence) / 2, max(images - 1, 1)) * error)


def _intervals(
    values: np.ndarray, images: int, confidence: float, names: Sequence[str] = INTERVAL_METRICS
) -> dict[str, Interval]:
    """Return the interval of each metric by name, None where it is undefined.

    values: float64 [K, metrics, 1 + 2 S], see ``bias_and_error``.  names: of the metrics, in the order of ``values``.
    """
    if images < 2:
        return dict.fromkeys(names)
    ends = [interval_of_fraction(values[:, i], images, confidence) for i in range(len(names))]
    return {name: None if np.isnan(one).any() else one for name, one in zip(names, ends, strict=True)}
