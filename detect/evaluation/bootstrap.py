"""Confidence intervals of AP and AP50 from a percentile bootstrap over images (B. Efron and R. Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 13).

A resample draws as many images as there are, with replacement. Detections are matched with ground truth once, since
the matches in one image do not depend on other images; a resample then only changes how often each image counts.

Limits: the intervals cover the choice of the test images, not the randomness of training. They are too narrow for few
images: of the 95 % intervals from 13 simulated images a little under 9 in 10 contained the true AP
(tests/evaluation/test_bootstrap.py). Where scores say little about correctness they are biased upward, because copies
of one image make a steep start of the precision-recall curve more likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detect.evaluation.coco_rows import CocoRows, to_coco_rows
from detect.evaluation.detection_limit import RECALLS, STANDARD_LIMIT
from detect.evaluation.evaluators import REFERENCE, make_evaluation, stdout_suppressed
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

INTERVAL_METRICS = ("AP", "AP50")
Interval = tuple[float, float] | None

_BLOCK = 50  # resamples computed together; limits the memory


@dataclass(frozen=True)
class Matches:
    """The D detections of one class in I images, by descending score, matched at T IoU thresholds (0.5, 0.55 .. 0.95).

    image: int64 [D], index of the image of each detection.
    is_correct: bool [T, D], whether the detection matches an object.
    counts: bool [T, D], whether the detection is correct or a false positive; one inside a crowd region is neither.
    objects: int64 [I], number of ground-truth objects per image, without crowd regions.
    """

    image: np.ndarray
    is_correct: np.ndarray
    counts: np.ndarray
    objects: np.ndarray


def intervals(
    records: Sequence[ImageRecord],
    detections: Sequence[Detections],
    class_names: ClassNames,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    limit: int = STANDARD_LIMIT,
) -> dict[str, Any]:
    """Compute confidence intervals of AP and AP50, for all classes and for each class.

    records: at least one.
    detections: one Detections per record, with labels of ``class_names``.
    resamples: number of resamples.
    confidence: fraction of the resamples that lie between ``low`` and ``high``.
    limit: number of detections per image and class that are scored.

    Returns ``{"bbox": {"AP": (low, high), "AP50": ..}, "segm": {..}, "classes": {NAME: {"bbox": {..}, "segm": {..}}},
    "confidence", "resamples", "seed", "images"}``. An interval is None if fewer than two images contain objects.
    Raises ValueError as ``coco_metrics.score`` does.
    """
    rows = to_coco_rows(records, detections, class_names)
    result: dict[str, Any] = {}
    classes: dict[str, dict[str, dict[str, Interval]]] = {name: {} for name in class_names.names}
    for kind in rows.kinds:
        matches = match_detections(rows, kind, limit)
        blocks = image_weights(len(records), resamples, seed)
        values = np.concatenate([average_precisions(matches, block) for block in blocks], axis=-1)
        objects = np.sum([one.objects for one in matches], axis=0)
        result[kind] = _intervals(nan_mean(values), objects, confidence)
        for name, one, own in zip(class_names.names, matches, values, strict=True):
            classes[name][kind] = _intervals(own, one.objects, confidence)
    result["classes"] = classes
    return result | {"confidence": confidence, "resamples": resamples, "seed": seed, "images": len(records)}


def explanation(result: dict[str, Any]) -> str:
    """Return one or two lines that explain the result of ``intervals`` to readers of a table."""
    if result["bbox"]["AP"] is None:
        return "no [low, high]: an interval needs two or more images with objects"
    percent, images = f"{result['confidence'] * 100:g} %", result["images"]
    return (
        f"[low, high]: {percent} bootstrap interval. In {percent} of {result['resamples']} resamples of the {images} "
        "images\nthe metric lies inside. It shows how much another choice of test images may change the metric"
    )


def image_weights(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks of resamples as int64 [R, I]: how often each of ``images`` images counts; every row sums to I.

    Equal arguments give equal resamples, so that two models can be compared on the same ones.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _BLOCK):
        yield rng.multinomial(images, np.full(images, 1 / images), size=min(_BLOCK, resamples - first))


def match_detections(rows: CocoRows, kind: str, limit: int = STANDARD_LIMIT) -> list[Matches]:
    """Match the ``limit`` best detections of each image and class with ground truth of all sizes, by pycocotools.

    Returns one Matches per class. kind: "bbox" or "segm".
    """
    evaluation = make_evaluation(rows, kind, REFERENCE, limit)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    with stdout_suppressed():
        evaluation.evaluate()
    images, thresholds = len(rows.images), len(evaluation.params.iouThrs)
    # evalImgs lists the images of class 1, then those of class 2 ...; None for no ground truth and no detections
    per_class = (evaluation.evalImgs[k * images : (k + 1) * images] for k in range(len(rows.categories)))
    return [_matches_of_class(results, thresholds) for results in per_class]


def average_precisions(matches: Sequence[Matches], weights: np.ndarray) -> np.ndarray:
    """Return COCO's AP and AP50 of K classes, float64 [K, 2, R], as if image i occurred ``weights[r, i]`` times.

    weights: int64 [R, I].

    NaN where a resample has no object of the class. Detections of equal score keep COCO's order, that of the images,
    with the copies of one detection next to each other.
    """
    return np.stack([_average_precision(one, weights) for one in matches])


def nan_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis without NaN, as COCO skips classes without ground truth; NaN of none."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=0) / np.count_nonzero(~np.isnan(values), axis=0)


def _average_precision(matches: Matches, weights: np.ndarray) -> np.ndarray:
    objects = weights @ matches.objects  # [R]
    if not matches.objects.any():
        return np.full((2, len(weights)), np.nan)
    repeats = weights[:, matches.image]  # [R, D]
    thresholds = zip(matches.is_correct, matches.counts, strict=True)
    values = np.stack([_mean_precision(repeats, correct, counts, objects) for correct, counts in thresholds])
    return np.where(objects > 0, [values.mean(axis=0), values[0]], np.nan)


def _mean_precision(
    repeats: np.ndarray, is_correct: np.ndarray, counts: np.ndarray, objects: np.ndarray
) -> np.ndarray:
    """Return the mean precision at COCO's 101 recalls, float64 [R], if detection d occurs ``repeats[r, d]`` times.

    Only correct detections raise the recall, and the precision is highest right at one of them, so the points of the
    curve at the correct detections determine it.
    """
    at = np.flatnonzero(is_correct)
    if not len(at):
        return np.zeros(len(repeats))
    correct = np.cumsum(repeats[:, at], axis=1)  # [R, H]
    precision = correct / (np.cumsum(repeats * counts, axis=1)[:, at] + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(RECALLS, correct / np.maximum(objects, 1)[:, None], side="right")
    return (best_from_here * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)


def _matches_of_class(images: Sequence[dict[str, Any] | None], thresholds: int) -> Matches:
    """images: the entries of ``COCOeval.evalImgs`` of one class."""
    evaluated = [(i, one) for i, one in enumerate(images) if one is not None]
    objects = np.zeros(len(images), np.int64)
    for i, one in evaluated:
        objects[i] = np.count_nonzero(one["gtIgnore"] == 0)
    none = np.zeros((thresholds, 0), bool)
    matched = np.concatenate([none, *(one["dtMatches"] > 0 for _, one in evaluated)], axis=1)
    counts = np.concatenate([none, *(one["dtIgnore"] == 0 for _, one in evaluated)], axis=1)
    image = np.repeat([i for i, _ in evaluated], [len(one["dtScores"]) for _, one in evaluated]).astype(np.int64)
    scores = np.concatenate([[], *(one["dtScores"] for _, one in evaluated)])
    order = np.argsort(-scores, kind="stable")  # as COCO sorts
    return Matches(image[order], (matched & counts)[:, order], counts[:, order], objects)


def _intervals(values: np.ndarray, objects: np.ndarray, confidence: float) -> dict[str, Interval]:
    """values: float64 [2, R], AP and AP50 of each resample.  objects: int64 [I], number in each image."""
    if np.count_nonzero(objects) < 2:
        return dict.fromkeys(INTERVAL_METRICS)
    ends = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)  # [2, metrics]
    return {name: (float(low), float(high)) for name, (low, high) in zip(INTERVAL_METRICS, ends.T, strict=True)}
