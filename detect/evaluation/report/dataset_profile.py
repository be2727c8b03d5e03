"""The dataset of a report: images and objects per split and class, and the sizes of images and objects."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from detect.errors import DetectError
from detect.evaluation.report.metrics import MAX_CLASSES
from detect.evaluation.report.page import Page

_ORDER = {"train": 0, "val": 1, "test": 2}
_SIDES = (16, 32, 64, 128, 256, 512)  # pixels


def content(page: Page) -> dict[str, Any]:
    """Return the rows of the tables."""
    analysis = page.analysis
    table = analysis.table
    splits = {analysis.evaluation.split: _evaluated(page)} | _other_splits(page)
    order = sorted(splits, key=lambda name: _ORDER.get(name, len(_ORDER)))
    names = table.class_names.names
    evaluated = splits[analysis.evaluation.split]["classes"]
    classes = sorted(range(len(names)), key=lambda k: -evaluated[k])
    return {
        "splits": [
            {"name": name, "is_evaluated": name == analysis.evaluation.split, **splits[name]} for name in order
        ],
        "classes": [
            {"name": names[k], "counts": [splits[name]["classes"][k] for name in order]} for k in classes[:MAX_CLASSES]
        ],
        "sides": _sides(np.sqrt(table.gt_area[analysis.is_object])),
        "widths": _range(table.image_hw[:, 1]),
        "heights": _range(table.image_hw[:, 0]),
    }


def _range(sides: np.ndarray) -> str:
    """Return the lowest, highest and median number of pixels in words."""
    low, middle, high = np.quantile(sides, [0, 0.5, 1]).astype(int).tolist()
    return str(low) if low == high else f"{low} to {high} (median {middle})"


def _evaluated(page: Page) -> dict[str, Any]:
    table = page.analysis.table
    return _counts(table.num_images, table.gt_image, table.gt_label, table.gt_crowd, table.num_classes)


def _other_splits(page: Page) -> dict[str, dict[str, Any]]:
    """Return the counts of the other splits as they are annotated; a split that cannot be read is left out."""
    one = page.analysis.evaluation
    splits: dict[str, dict[str, Any]] = {}
    if one.spec is None:
        return splits
    for name in one.spec.splits:
        if name != one.split:
            with suppress(DetectError):
                table = one.spec.select(name, one.class_names)[1].table
                splits[name] = _counts(len(table), table.images, table.labels, table.iscrowd, len(one.class_names))
    return splits


def _counts(
    images: int, image_of: np.ndarray, labels: np.ndarray, is_crowd: np.ndarray, num_classes: int
) -> dict[str, Any]:
    return {
        "images": images,
        "objects": int((~is_crowd).sum()),
        "empty": images - len(np.unique(image_of)),
        "crowds": int(is_crowd.sum()),
        "classes": np.bincount(labels[~is_crowd], minlength=num_classes + 1)[1:].tolist(),
    }


def _sides(sides: np.ndarray) -> list[dict[str, Any]]:
    """Return the number of objects by the square root of their area."""
    index = np.searchsorted(_SIDES, sides, side="right")
    counts = np.bincount(index, minlength=len(_SIDES) + 1).tolist()
    names = [f"below {_SIDES[0]}", *(f"{low} to {2 * low}" for low in _SIDES[:-1]), f"from {_SIDES[-1]}"]
    highest = max(*counts, 1)
    return [{"name": name, "count": n, "part": n / highest} for name, n in zip(names, counts, strict=True)]
