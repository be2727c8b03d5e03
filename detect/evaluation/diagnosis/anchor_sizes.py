"""Compares the anchors of a model with the sizes of the evaluated objects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent
from detect.models.anchors import anchor_recall

_MANY = 0.85  # fraction of objects that the anchors reach; less is a warning
_FEW = 0.6  # less is a problem
_REACH = 2**0.5  # an anchor has IoU 0.5 with a box of the same shape up to this factor in its sides


def check_anchor_sizes(analysis: Analysis) -> Iterator[Finding]:
    """Yield which fraction of the objects has an anchor with an IoU of at least 0.5, and whether the others are too
    large or too small. Only for models with a region proposal network."""
    predictor = analysis.evaluation.predictor
    grid = predictor.runtime.anchor_grid() if predictor else None
    if predictor is None or grid is None or not analysis.is_object.any():
        return
    reached = anchor_recall(grid, analysis.evaluation.records, predictor.imgsz)
    smallest, largest = min(grid.sizes), max(grid.sizes)
    sides = _resized_sides(analysis)
    too_large, too_small = float((sides > largest * _REACH).mean()), float((sides < smallest / _REACH).mean())
    anchors = (
        f"The anchors, the boxes that the model starts from, have sides of {smallest} to {largest} pixels. Half of the"
        f" objects have sides of {np.quantile(sides, 0.25):.0f} to {np.quantile(sides, 0.75):.0f} pixels at image size"
        f" {predictor.imgsz}."
    )
    if reached >= _MANY:
        yield fine(
            "Anchors", f"{percent(reached)} of the objects have an anchor with an IoU of at least 0.5. {anchors}"
        )
        return
    kind = "too small" if too_large > too_small else "too large"
    part = max(too_large, too_small)
    wrong = "larger than the largest" if too_large > too_small else "smaller than the smallest"
    reason = f" {percent(part)} of the objects are much {wrong} anchor." if part > 0.1 else ""
    yield Finding(
        Severity.PROBLEM if reached < _FEW else Severity.WARNING,
        f"The anchors are {kind} for these objects" if reason else "The anchors fit these objects badly",
        f"Only {percent(reached)} of the objects have an anchor with an IoU of at least 0.5.{reason} {anchors}",
        f"{_what_to_do(analysis, predictor.imgsz)} A region proposal network hardly learns objects that no anchor"
        " overlaps.",
    )


def _what_to_do(analysis: Analysis, imgsz: int) -> str:
    settings = analysis.saved.checkpoint.training if analysis.saved else {}
    trained = settings.get("imgsz")
    if isinstance(trained, int) and trained != imgsz:
        return f"Evaluate with `imgsz={trained}`, at which the model was trained: the sizes of its anchors suit that."
    if settings.get("anchors") == "fitted":
        return (
            "The model was trained with `anchors='fitted'`, so the objects of its training had other sizes, or its"
            " anchors were changed since. Train again on images with objects of these sizes."
        )
    known = "The model was trained with `anchors='default'`. " if settings.get("anchors") == "default" else ""
    return f"{known}Train again with anchors fitted to the dataset (`anchors='fitted'`), or with another `imgsz`."


def _resized_sides(analysis: Analysis) -> np.ndarray:
    """Return the square root of the area of each object's box after resizing, float64 [objects], pixels."""
    table, predictor = analysis.table, analysis.evaluation.predictor
    assert predictor is not None
    resized = np.array([predictor.resized_hw((h, w)) for h, w in table.image_hw.tolist()]).reshape(-1, 2)
    scale = np.sqrt(resized.prod(axis=1) / table.image_hw.prod(axis=1))
    rows = np.flatnonzero(analysis.is_object)
    sides = np.sqrt((table.gt_boxes[rows, 2:] - table.gt_boxes[rows, :2]).prod(axis=1))
    return sides * scale[table.gt_image[rows]]
