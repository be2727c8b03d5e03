"""The breakdown of a report: which objects are found, by size, shape, crowding and position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.average_precision import precision_and_recall
from detect.evaluation.coco_metrics import mean_of_known
from detect.evaluation.diagnosis.finding import Severity
from detect.evaluation.matching import AREA_RANGES, match
from detect.evaluation.overlaps import find_overlaps
from detect.evaluation.report.page import Page

_BORDER = 1.5  # pixels between a box and the border of its image, up to which it touches it
_TOUCHING = 1e-9  # IoU from which two boxes overlap

Group = tuple[str, np.ndarray]  # a name, and which objects belong to it, bool [G]


def content(page: Page) -> dict[str, Any]:
    """Return tables of groups of objects with their number, the fraction that is found, and AP50 by size."""
    tables: list[tuple[str, str, Callable[[Analysis], list[Group]]]] = [
        ("Size", "COCO's limits, in square pixels of the original image", _sizes),
        ("Size, in quarters", "side = square root of the area, in pixels of the original image", _size_quarters),
        ("Shape", "width divided by height of the box", _shapes),
        ("Overlap", "highest IoU with the box of another object", _overlaps),
        ("Objects in the image", "", _crowding),
        ("Border of the image", "", _borders),
    ]
    analysis = page.analysis
    ap50 = {"Size": _ap50(analysis, AREA_RANGES[1:]), "Size, in quarters": _ap50(analysis, _quarter_ranges(analysis))}
    return {
        "is_sound": not any(finding.severity is Severity.PROBLEM for finding in page.findings),
        "tables": [
            {"title": title, "note": note, "rows": _rows(analysis, groups(analysis), ap50.get(title))}
            for title, note, groups in tables
        ],
    }


def _rows(analysis: Analysis, groups: Sequence[Group], ap50: Sequence[float | None] | None) -> list[dict[str, Any]]:
    rows = []
    for i, (name, belongs) in enumerate(groups):
        objects = belongs & analysis.is_object
        count = int(objects.sum())
        rows.append(
            {
                "name": name,
                "count": count,
                "found": analysis.is_found[objects].mean() if count else None,
                "reachable": np.isfinite(analysis.found_score[objects]).mean() if count else None,
                "ap50": ap50[i] if ap50 else None,
            }
        )
    return rows


def _ap50(analysis: Analysis, ranges: Sequence[tuple[float, float]]) -> list[float | None]:
    """Return AP50 for ranges of areas, the mean over the classes with such objects, None if there are none."""
    half = np.array([0.5])
    matching = match(
        analysis.table, analysis.overlaps, iou_thresholds=half, area_ranges=tuple(ranges), limit=analysis.limit
    )
    precision, _ = precision_and_recall(analysis.table, matching, (analysis.limit,))
    return [mean_of_known(precision[0, :, :, a]) for a in range(len(ranges))]


def _sizes(analysis: Analysis) -> list[Group]:
    area = analysis.table.gt_area
    names = ("small: below 32 x 32", "medium", "large: from 96 x 96")
    return [(name, (area >= low) & (area < high)) for name, (low, high) in zip(names, AREA_RANGES[1:], strict=True)]


def _quarter_ranges(analysis: Analysis) -> list[tuple[float, float]]:
    """Return the ranges of areas that hold a quarter of the objects each; a limit belongs to the smaller ones."""
    areas = analysis.table.gt_area[analysis.is_object]
    limits = np.quantile(areas, [0.25, 0.5, 0.75]).tolist() if len(areas) else [0.0, 0.0, 0.0]
    lower = [0.0, *(float(np.nextafter(limit, np.inf)) for limit in limits)]
    return list(zip(lower, [*limits, 1e10], strict=True))


def _size_quarters(analysis: Analysis) -> list[Group]:
    area = analysis.table.gt_area
    groups = []
    for number, (low, high) in enumerate(_quarter_ranges(analysis)):
        name = f"sides from {low**0.5:.0f}" if number == 3 else f"{low**0.5:.0f} to {high**0.5:.0f}"
        groups.append((name, (area >= low) & (area <= high)))
    return groups


def _between(values: np.ndarray, limits: Sequence[float], names: Sequence[str]) -> list[Group]:
    """Return the groups below, between and from ``limits``, ascending; there is one name more than limits."""
    index = np.searchsorted(limits, values, side="right")
    return [(name, index == i) for i, name in enumerate(names)]


def _shapes(analysis: Analysis) -> list[Group]:
    sides = analysis.table.gt_boxes[:, 2:] - analysis.table.gt_boxes[:, :2]
    names = ("tall: below 1 : 2", "1 : 2 to 4 : 5", "about square", "5 : 4 to 2 : 1", "wide: from 2 : 1")
    return _between(sides[:, 0] / np.maximum(sides[:, 1], 1e-9), (0.5, 0.8, 1.25, 2.0), names)


def _overlaps(analysis: Analysis) -> list[Group]:
    names = ("none", "below 0.1", "0.1 to 0.3", "from 0.3")
    return _between(highest_overlap(analysis), (_TOUCHING, 0.1, 0.3), names)


def highest_overlap(analysis: Analysis) -> np.ndarray:
    """Return the highest IoU of each object's box with that of another object in its image, float64 [G]."""
    table = analysis.table
    as_detections = replace(table, dt_image=table.gt_image, dt_boxes=table.gt_boxes)  # no other columns are read
    pairs = find_overlaps(as_detections, "bbox", _TOUCHING)
    pairs = pairs.take((pairs.detection != pairs.ground_truth) & ~table.gt_crowd[pairs.ground_truth])
    highest = np.zeros(len(table.gt_image))
    np.maximum.at(highest, pairs.detection, pairs.iou)
    return highest


def _crowding(analysis: Analysis) -> list[Group]:
    image = analysis.table.gt_image
    number = np.bincount(image[analysis.is_object], minlength=analysis.table.num_images)[image]
    return _between(number, (2, 5, 10, 20), ("1", "2 to 4", "5 to 9", "10 to 19", "20 or more"))


def _borders(analysis: Analysis) -> list[Group]:
    table = analysis.table
    height, width = table.image_hw[table.gt_image].T
    x0, y0, x1, y1 = table.gt_boxes.T
    touches = np.minimum.reduce([x0, y0, width - x1, height - y1]) <= _BORDER
    return [("touches it", touches), ("inside", ~touches)]
