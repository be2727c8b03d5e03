"""Rules for the settings that choose score thresholds. Nothing here imports torch or NumPy."""

from __future__ import annotations

from detect.errors import UsageError
from detect.evaluation import OUT_OF_FOLD
from detect.options import check_number

HELD_OUT = ("val", OUT_OF_FOLD)
"""Splits on which thresholds may be chosen. Their images are used neither for training nor for the final test."""

_WHY_NOT = {
    "test": "its metrics would then be too good, since part of the model was fitted to it",
    "train": "the scores of images that were trained on are higher than those of new images",
}


def check_threshold_split(split: str) -> None:
    """Raise UsageError for a split on which thresholds must not be chosen."""
    if split not in HELD_OUT:
        reason = f": {_WHY_NOT[split]}" if split in _WHY_NOT else ""
        raise UsageError(f"thresholds are chosen on val (`split='val'`), not on {split}{reason}")


def check_wanted(precision: float | None, recall: float | None) -> None:
    """Raise UsageError unless at most one of the wanted precision and recall is given, in 0..1."""
    if precision is not None and recall is not None:
        raise UsageError(f"`precision={precision!r}` and `recall={recall!r}`: a threshold is chosen for one of them")
    for name, value in (("precision", precision), ("recall", recall)):
        if value is not None:
            check_number(name, value, float, 0, 1)
