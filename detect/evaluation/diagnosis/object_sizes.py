"""Finds sizes of objects that the model misses, and images that are shrunk more than in the training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine, percent

_MIN_OBJECTS = 10  # in a quarter of the objects by size
_MIN_GAP = 0.3  # between the recall of a quarter and that of the others


def check_object_sizes(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether the smallest or the largest quarter of the objects is found much less often than the others."""
    rows = np.flatnonzero(analysis.is_object)
    if len(rows) < 4 * _MIN_OBJECTS:
        return
    sides = np.sqrt(analysis.table.gt_area[rows])
    found = np.isfinite(analysis.found_score[rows])
    if not found.any():
        return
    low, high = np.quantile(sides, [0.25, 0.75])
    ends = {"smallest": (sides <= low, f"up to {low:.0f}"), "largest": (sides >= high, f"from {high:.0f}")}
    nothing = True
    for kind, (is_end, limit) in ends.items():
        own, others = found[is_end].mean(), found[~is_end].mean() if (~is_end).any() else 1.0
        if others - own >= _MIN_GAP:
            nothing = False
            yield Finding(
                Severity.WARNING,
                f"Mostly the {kind} objects are missed",
                f"{percent(own)} of the {kind} quarter of the objects (sides {limit} pixels) are found at any score,"
                f" and {percent(others)} of the others.",
                _ADVICE[kind],
            )
    if nothing:
        small, large = (found[is_end].mean() for is_end, _ in ends.values())
        yield fine(
            "Object sizes",
            f"{percent(small)} of the smallest and {percent(large)} of the largest quarter of the objects are found.",
        )


_ADVICE = {
    "smallest": "A larger `imgsz` in training and use helps most, then smaller anchors, and cutting large images into"
    " parts (`tile`).",
    "largest": "Check whether the anchors are large enough, and whether large objects are cut off at the border in"
    " training (mosaics and crops).",
}


def check_image_size(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether the model runs at another image size than in its training."""
    predictor = analysis.evaluation.predictor
    trained = analysis.saved.checkpoint.training.get("imgsz") if analysis.saved else None
    if predictor is None or not isinstance(trained, int):
        return
    if trained == predictor.imgsz:
        yield fine("Image size", f"Images are resized to {trained} pixels (short side), as in the training.")
        return
    yield Finding(
        Severity.WARNING,
        "The image size differs from that of the training",
        f"Images were resized to {predictor.imgsz} pixels (short side), but the model was trained at {trained}.",
        f"Evaluate with `imgsz={trained}` too: the model was trained with objects at the sizes that they have there.",
    )
