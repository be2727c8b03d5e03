"""Checks of the scores and boxes in a file of detections, and warnings about unusual ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from detect.data.table import Table
from detect.errors import DataError
from detect.evaluation.columns import evaluation_table
from detect.evaluation.overlaps import find_overlaps
from detect.evaluation.results_rows import Results
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import counted

_LARGEST = 1e7  # pixels; no image is larger
_LOW_SCORE = 0.1  # a model's results should reach below it
_SAMPLED = 500  # images from which shifted ids are recognized
_EDGE_TOLERANCE = 0.01  # fraction of a side by which a detector's boxes may reach outside the image


def check_scores(results: Results) -> np.ndarray:
    """Return the scores, float64 [N]. Raises DataError unless all are in 0..1."""
    scores = np.array([row.score for row in results.rows], np.float64)
    # Written as "not inside the range" because every comparison with NaN is false.
    wrong = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(wrong):
        advice = "; divide percentages by 100" if 1 < scores.max() <= 100 and scores.min() >= 0 else ""
        raise DataError(
            f"{results.path}: {counted(len(wrong), 'score')} outside 0..1: {results.where(int(wrong[0]))} has "
            f"{scores[wrong[0]]}{advice}"
        )
    return scores


def check_boxes(results: Results, boxes_xywh: np.ndarray) -> None:
    """Raise DataError for boxes that are not finite, have a negative side, or are fractions of the image.

    boxes_xywh: float64 [N, 4].
    """

    def fail(wrong: np.ndarray, what: str) -> None:
        if len(wrong):
            raise DataError(
                f"{results.path}: {counted(len(wrong), 'box', 'boxes')} {what}: {results.where(int(wrong[0]))} has "
                f"{boxes_xywh[wrong[0]].tolist()}; expected [x, y, width, height] in pixels"
            )

    # Written as "not below" because every comparison with NaN is false.
    fail(np.flatnonzero(~(np.abs(boxes_xywh) < _LARGEST).all(axis=1)), "with impossible coordinates")
    fail(np.flatnonzero((boxes_xywh[:, 2:] < 0).any(axis=1)), "with a negative width or height")
    fractions = np.flatnonzero((np.abs(boxes_xywh) <= 1).all(axis=1))
    if len(fractions) > len(boxes_xywh) / 2:
        fail(fractions, "in fractions 0..1 of the image")


def outside_image(boxes_xywh: np.ndarray, image_hw: np.ndarray) -> str:
    """Return a warning if most boxes reach outside their image, or many do that would fit better as xyxy; else "".

    boxes_xywh: float64 [N, 4].  image_hw: int [N, 2], of the image of each box.
    """
    size_wh = image_hw[:, ::-1]
    limit = size_wh * (1 + _EDGE_TOLERANCE) + 1
    first, second = boxes_xywh[:, :2], boxes_xywh[:, 2:]
    outside = ((first < size_wh - limit) | (first + second > limit)).any(axis=1)
    outside_as_xyxy = ((first < size_wh - limit) | (second > limit)).any(axis=1)
    ordered = (second >= first).all(axis=1)  # true of every xyxy, and of few xywh
    if not outside.any():
        return ""
    looks_like_xyxy = ordered.mean() > 0.99 and outside_as_xyxy.sum() < 0.5 * outside.sum()
    if outside.mean() <= (0.1 if looks_like_xyxy else 0.5):
        return ""
    advice = ", these look like [x0, y0, x1, y1]" if looks_like_xyxy else " in pixels of the original image"
    reach = "reaches" if len(boxes_xywh) == 1 else "reach"
    return (
        f"{int(outside.sum())} of {counted(len(boxes_xywh), 'box', 'boxes')} {reach} outside their image;"
        f" COCO results hold [x, y, width, height]{advice}"
    )


def remarks(detections: Sequence[Detections], scores: np.ndarray, limit: int) -> Iterator[str]:
    """Yield remarks about detections that lower the metrics unexpectedly: missing low scores, copies, too many.

    scores: of all detections in the images, also of those beyond the maximum number per image.
    limit: number of detections per image and class that are scored.
    """
    if scores.size and _LOW_SCORE < scores.min() < scores.max():
        yield (
            f"its lowest score is {scores.min():.3g}; AP also counts detections with low scores, so it is higher if"
            " they are saved too (from 0.05 or less)"
        )
    empty = sum(not len(one) for one in detections)
    if empty > len(detections) / 2:
        yield f"{empty} of the {len(detections)} images of the split have no detection"
    if copies := sum(map(_copies, detections)):
        are = "is an exact copy" if copies == 1 else "are exact copies"
        yield f"{counted(copies, 'detection')} {are} of another one; they count as false positives"
    most = [int(np.bincount(one.labels).max(initial=0)) for one in detections]
    if max(most, default=0) > limit:
        above = sum(number > limit for number in most)
        have = "has" if above == 1 else "have"
        yield (
            f"{counted(above, 'image')} {have} more than {limit} detections of one class (up to {max(most)});"
            f" the {limit} with the highest scores are scored"
        )


def shifted_ids(records: Table, detections: Sequence[Detections], class_names: ClassNames) -> str:
    """Return a warning if detections on objects mostly have the category id next to that of the object; else "".

    This happens if the file numbers classes from 0 and the dataset from 1, or the reverse, and all ids exist in both.
    Only the first images are examined.
    """
    shown = [replace(one, masks=None) for one in detections[:_SAMPLED]]
    table = evaluation_table(records[:_SAMPLED], shown, class_names)
    overlaps = find_overlaps(table, "bbox")
    overlaps = overlaps.take((overlaps.iou >= 0.5) & ~table.gt_crowd[overlaps.ground_truth])
    ids = np.array([0, *class_names.ids])
    shift = ids[table.dt_label[overlaps.detection]] - ids[table.gt_label[overlaps.ground_truth]]
    same = int((shift == 0).sum())
    for by, word in ((1, "higher"), (-1, "lower")):
        shifted = int((shift == by).sum())
        if shifted > len(shift) / 2 and shifted > 5 * same:
            return (
                f"{shifted} of {len(shift)} detections on an object have a category id that is 1 {word} than that of"
                f" the object, and {same} have the same id: are the ids shifted by one?"
            )
    return ""


def _copies(one: Detections) -> int:
    """Return how many detections are equal to an earlier one in everything."""
    if len(one) < 2 or (np.diff(one.scores) < 0).all():  # copies have equal scores, and scores are sorted
        return 0
    counts = [repr(mask["counts"]) for mask in one.masks or [{"counts": b""}] * len(one)]
    rows = zip(one.labels.tolist(), one.scores.tolist(), map(tuple, one.boxes.tolist()), counts, strict=True)
    return len(one) - len(set(rows))
