"""Statistics of a dataset: images, sizes, classes, objects per image and object sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detect.data.quality.checks.classes import count_objects
from detect.data.table import Table
from detect.structures.class_names import ClassNames

# Limits of the areas of small, medium and large objects, px² on the original image: https://cocodataset.org/#detection-eval
_AREA_LIMITS = (0, 32**2, 96**2, np.inf)


@dataclass(frozen=True)
class Summary:
    """Statistics of one split. Objects do not include crowds.

    images: number of images.
    sides: minimum, median and maximum of the "short" and the "long" side of the images, px.
    objects: number of objects per class name.
    per_image: minimum, median and maximum number of objects per image.
    empty: number of images without objects.
    sizes: number of "small", "medium" and "large" objects, by area on COCO's scale.
    masks: number of objects with a mask.
    crowds: number of crowds.
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
    """Return the statistics of a validated split."""
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
        sizes=dict(zip(("small", "medium", "large"), np.histogram(areas, _AREA_LIMITS)[0].tolist(), strict=True)),
        masks=int((~table.lacks_mask & single).sum()),
        crowds=int((~single).sum()),
    )


def objects_per_class(summaries: Mapping[str, Summary]) -> list[tuple[str, list[int]]]:
    """Return the class names with their object counts per split, most frequent class first."""
    names = next(iter(summaries.values())).objects
    rows = [(name, [summary.objects[name] for summary in summaries.values()]) for name in names]
    return sorted(rows, key=lambda row: -sum(row[1]))


def _range(values: np.ndarray) -> list[float]:
    """Return minimum, median and maximum; zeros if there are no values."""
    return [float(f(values)) for f in (np.min, np.median, np.max)] if len(values) else [0.0, 0.0, 0.0]
