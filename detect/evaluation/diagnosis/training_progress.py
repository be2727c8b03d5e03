"""Finds in the log of a training whether it was very short, ended too early or overfitted."""

from __future__ import annotations

from collections.abc import Iterator

from detect.evaluation.analysis import Analysis
from detect.evaluation.diagnosis.finding import Finding, Severity, fine
from detect.text import counted

_MIN_RISE = 0.01  # of AP on val in the last quarter of the epochs
_MIN_EPOCHS = 4
_VERY_SHORT = 3  # epochs
_OVERFITTED = 1.3  # val loss at the end, in multiples of its minimum


def check_training(analysis: Analysis) -> Iterator[Finding]:
    """Yield whether the training was very short, whether AP on val was still rising when it ended, and whether the
    loss on val rose again."""
    epochs = analysis.saved.epochs if analysis.saved else []
    if 0 < len(epochs) <= _VERY_SHORT:
        yield Finding(
            Severity.WARNING,
            "The training was very short",
            f"The model was trained for {counted(len(epochs), 'epoch')}.",
            "Train for more `epochs` before you look for other causes.",
        )
        return
    values = [ap for row in epochs if (ap := (row["val"].get("bbox") or {}).get("AP")) is not None]
    if not len(epochs) == len(values) >= _MIN_EPOCHS:
        return
    before = max(values[: -(-3 * len(values) // 4)])
    rise = max(values) - before
    losses = [loss for row in epochs if (loss := (row.get("val_losses") or {}).get("loss")) is not None]
    if values[-1] == max(values) and rise >= _MIN_RISE:
        yield Finding(
            Severity.WARNING,
            "The training ended too early",
            f"The last of {len(epochs)} epochs is the best, and AP on val rose by {100 * rise:.1f} points in the last"
            " quarter.",
            "Train for more `epochs`.",
        )
    elif len(losses) == len(epochs) and losses[-1] > _OVERFITTED * min(losses):
        yield Finding(
            Severity.WARNING,
            "The model is overfitted",
            f"The loss on val was lowest ({min(losses):.2f}) in epoch {epochs[losses.index(min(losses))]['epoch']} and"
            f" rose to {losses[-1]:.2f} in the last.",
            "More images, stronger augmentation (`aug`) or fewer epochs; the best checkpoint is from the best epoch.",
        )
    else:
        yield fine("Training", f"AP on val had stopped rising at the end of {len(epochs)} epochs.")
