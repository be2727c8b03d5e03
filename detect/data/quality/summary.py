"""A dataset in numbers: images, sizes, classes, objects an image, and how large these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detect.data.quality.checks.classes import count_objects
from detect.data.table import Table
from detect.structures.class_names import ClassNames

_SMALL, _LARGE = 32**2, 96**2  # px² on the original image, as https://cocodataset.org/#detection-eval has them


@dataclass(frozen=True)
class Summary:
    """One split in numbers, crowds counted apart.

    sides: least, median and largest short side and long side of the images, px.
    objects: of each class.  per_image: least, median and largest number of objects.  empty: images without any.
    sizes: objects that are small, medium and large by area on COCO's scale.
    masks: objects with one.
    """

    images: int
    sides: dict[str, list[int]]
    objects: dict[str, int]
    per_image: list[float]
    empty: int
    sizes: dict[str, int]
    masks: int
    crowds: int


def summarize(table: Table, class_names: ClassNames) -> Summary:
    """The numbers of a clean table."""
    single = ~table.iscrowd
    counts = np.bincount(table.images[single], minlength=len(table))
    areas = table.areas[single]
    sides = {"short": table.image_hw.min(axis=1), "long": table.image_hw.max(axis=1)}
    return Summary(
        images=len(table),
        sides={name: [int(n) for n in _range(values)] for name, values in sides.items()},
        objects=dict(zip(class_names.names, count_objects(table, class_names).tolist(), strict=True)),
        per_image=_range(counts),
        empty=int((counts == 0).sum()),
        sizes={
            "small": int((areas < _SMALL).sum()),
            "medium": int(((areas >= _SMALL) & (areas < _LARGE)).sum()),
            "large": int((areas >= _LARGE).sum()),
        },
        masks=int((~table.lacks_mask & single).sum()),
        crowds=int((~single).sum()),
    )


def table_of_classes(summaries: Mapping[str, Summary]) -> list[tuple[str, list[int]]]:
    """Each class with its objects in each split, the largest first."""
    names = next(iter(summaries.values())).objects
    rows = [(name, [summary.objects[name] for summary in summaries.values()]) for name in names]
    return sorted(rows, key=lambda row: -sum(row[1]))


def _range(values: np.ndarray) -> list[float]:
    """The least, the median and the largest, zeros of nothing."""
    return [float(f(values)) for f in (np.min, np.median, np.max)] if len(values) else [0.0, 0.0, 0.0]
