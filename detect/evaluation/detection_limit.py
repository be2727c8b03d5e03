"""COCO's limit on the number of detections per image and class, and the highest scores that it allows.

The protocol (https://cocodataset.org/#detection-eval) scores the 100 best detections of each image and class. In an
image with more objects of a class some of them cannot be found, so that a perfect detector has an AP below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detect.data.table import Table
from detect.structures.image_record import ImageRecord
from detect.text import counted

STANDARD_LIMIT = 100
RECALLS = np.linspace(0, 1, 101)  # at which COCO samples the precision


def scored_detections(max_detections: int | None) -> int:
    """Return how many detections per image and class are scored: COCO's 100, or ``max_detections`` if it is larger."""
    return max(STANDARD_LIMIT, max_detections or 0)


def limit_facts(records: Sequence[ImageRecord], num_classes: int, limit: int = STANDARD_LIMIT) -> dict[str, Any]:
    """Return what a limit of ``limit`` detections per image and class means for ground truth, crowds excluded:

    ``{"per_image_and_class": limit, "images_above": number of images with more objects of one class, "max_AP",
    "max_AR"}``. The last two are the scores of a perfect detector, means over the classes with objects; None without
    any object.
    """
    images, labels = _images_and_labels(records)
    pairs, counts = np.unique(images * num_classes + labels - 1, return_counts=True)  # of an image and a class
    objects, scored = (
        np.bincount(pairs % num_classes, weights=weights, minlength=num_classes)
        for weights in (counts, np.minimum(counts, limit))
    )
    recall = scored[objects > 0] / objects[objects > 0]
    return {
        "per_image_and_class": limit,
        "images_above": len(np.unique(pairs[counts > limit] // num_classes)),
        "max_AP": float(ap_without_errors(recall).mean()) if recall.size else None,
        "max_AR": float(recall.mean()) if recall.size else None,
    }


def ap_without_errors(recall: np.ndarray) -> np.ndarray:
    """Return the AP of detectors without false positives, float64 [N], for the fraction of objects that each finds."""
    return (RECALLS[:, None] <= recall).mean(axis=0)  # the precision is 1 up to the recall, and 0 above it


def _images_and_labels(records: Sequence[ImageRecord]) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the image and the label of each object that is not a crowd, int64 [M] each."""
    if isinstance(records, Table):  # without creating a record per image
        return records.images[~records.iscrowd], records.labels[~records.iscrowd]
    found = [record.labels[~record.iscrowd] for record in records]
    images = np.repeat(np.arange(len(found)), [len(labels) for labels in found])
    return images, np.concatenate([np.zeros(0, np.int64), *found])


def explain_limit(facts: dict[str, Any]) -> list[str]:
    """Return at most two lines for the result of ``limit_facts``: one if the limit is not COCO's, and one if it
    excludes objects."""
    limit, images = facts["per_image_and_class"], facts["images_above"]
    lines = []
    if limit != STANDARD_LIMIT:
        lines.append(
            f"not COCO's standard: up to {limit} detections per image and class are scored, COCO's protocol scores"
            f" {STANDARD_LIMIT}"
        )
    if images:
        have = "has" if images == 1 else "have"
        scored = "COCO's protocol scores" if limit == STANDARD_LIMIT else "are scored"
        lines.append(
            f"{counted(images, 'image')} {have} more objects of one class than the {limit} detections that {scored}:"
            f" AP is at most {facts['max_AP']:.3f}, AR at most {facts['max_AR']:.3f}; a higher `max_detections` scores"
            " more"
        )
    return lines
