"""AP of random halves of the images, from which ``intervals`` estimates how much AP varies.

Detections are matched with ground truth once, since the matches in one image do not depend on other images. A half
sample only drops images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detect.evaluation.average_precision import by_class
from detect.evaluation.columns import EvaluationTable
from detect.evaluation.detection_limit import RECALLS
from detect.evaluation.matching import Matching
from detect.progress import bar

_BLOCK = 32  # half samples computed together; limits the memory
_BAR_DELAY = 2.0  # seconds after which a progress bar is shown


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


def matches_per_class(table: EvaluationTable, matching: Matching) -> list[Matches]:
    """Return the matches of each class, from a matching of which the first area range counts."""
    correct, counts = matching.correct[0], matching.counts[0]
    objects = table.gt_image * table.num_classes + table.gt_label - 1
    per_image = np.bincount(objects[~matching.gt_ignored[0]], minlength=table.num_images * table.num_classes)
    columns = per_image.reshape(table.num_images, table.num_classes).T
    return [
        Matches(table.dt_image[rows], correct[:, rows], counts[:, rows], own)
        for rows, own in zip(by_class(table), columns, strict=True)
    ]


def half_samples(images: int, splits: int, seed: int) -> np.ndarray:
    """Return which of ``images`` images belong to each half of ``splits`` random splits, bool [2 * splits, images].

    Rows 2 s and 2 s + 1 are the halves of split s. Equal arguments give equal halves, so that two models can be
    compared on the same ones.
    """
    in_order = np.broadcast_to(np.arange(images) < images // 2, (splits, images))
    first = np.random.default_rng(seed).permuted(in_order, axis=1)
    return np.stack([first, ~first], axis=1).reshape(2 * splits, images)


def average_precisions(matches: Sequence[Matches], samples: np.ndarray) -> np.ndarray:
    """Return COCO's AP and AP50 of K classes, float64 [K, 2, R], in each of R samples of the images.

    samples: bool [R, I], whether each sample has each image.
    NaN where a sample has no object of the class.
    """
    in_turn = bar(matches, desc="confidence intervals", delay=_BAR_DELAY)
    return np.stack([_average_precision(one, samples) for one in in_turn])


def nan_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis without NaN, as COCO skips classes without ground truth; NaN if all are."""
    with np.errstate(invalid="ignore"):
        return np.nansum(values, axis=0) / np.count_nonzero(~np.isnan(values), axis=0)


def _average_precision(matches: Matches, samples: np.ndarray) -> np.ndarray:
    if not matches.objects.any():
        return np.full((2, len(samples)), np.nan)
    objects = np.rint(samples @ matches.objects.astype(np.float64)).astype(np.int64)  # [R]; as floats it is faster
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(samples), _BLOCK)]
    values = np.concatenate([_block(matches, samples[block], objects[block]) for block in blocks], axis=1)
    return np.where(objects > 0, values, np.nan)


def _block(matches: Matches, samples: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return AP and AP50, float64 [2, R]. objects: int64 [R], number in each sample."""
    kept = samples[:, matches.image]  # [R, D]
    recalls = _recalls_gained(objects)
    counts = matches.counts[0]
    seen = np.cumsum(kept & counts, axis=1, dtype=np.int32)
    values = []
    for correct, own_counts in zip(matches.is_correct, matches.counts, strict=True):
        if not np.array_equal(counts, own_counts):  # only crowds make a difference between thresholds
            counts, seen = own_counts, np.cumsum(kept & own_counts, axis=1, dtype=np.int32)
        values.append(_mean_precision(kept, seen, correct, recalls))
    return np.stack([np.mean(values, axis=0), values[0]])


def _recalls_gained(objects: np.ndarray) -> np.ndarray:
    """Return how many of COCO's 101 recalls the n-th correct detection is the first to reach: int64 [R, N + 1] for n
    from 0 to the largest of R numbers of objects."""
    correct = np.arange(objects.max(initial=0) + 1)
    reached = np.searchsorted(RECALLS, correct / np.maximum(objects, 1)[:, None], side="right")
    reached[:, 0] = 0  # even the recall 0 needs a correct detection
    return np.diff(reached, axis=1, prepend=0)


def _mean_precision(kept: np.ndarray, seen: np.ndarray, is_correct: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Return the mean precision at COCO's 101 recalls, float64 [R].

    kept: bool [R, D], whether a detection is in the sample. seen: int32 [R, D], detections that count up to here.

    Only correct detections raise the recall, and the precision is highest right at one of them, so the points of the
    curve at the correct detections determine it.
    """
    at = np.flatnonzero(is_correct)
    if not len(at):
        return np.zeros(len(kept))
    found = kept[:, at]
    correct = np.cumsum(found, axis=1, dtype=np.int32)  # [R, H]
    precision = correct / np.maximum(seen[:, at], 1)
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    gained = np.take_along_axis(recalls, correct, axis=1) * found
    return np.einsum("rh,rh->r", best_from_here, gained) / len(RECALLS)
