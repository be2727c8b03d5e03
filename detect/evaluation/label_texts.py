"""Suspected annotation errors as lines of text."""

from __future__ import annotations

from collections.abc import Iterator

from detect.evaluation.label_check import LabelErrors
from detect.evaluation.label_errors import LIKELY
from detect.media.image_paths import shown
from detect.text import counted, display_width, pad

_SHOWN = 20


def lines(found: LabelErrors) -> Iterator[str]:
    """Yield how many errors of each kind are likely, and the 20 strongest suspects."""
    numbers = ", ".join(f"{count} {kind}" for kind, count in found.counts().items())
    yield (
        f"annotation errors suspected by {shown(found.model)}, with a suspicion of at least {LIKELY} (0..1, how"
        f" reliable the model is in such cases): {numbers}"
    )
    top = found.suspects[:_SHOWN]
    if not top:
        yield "no suspects: the model agrees with every annotation"
        return
    rows = [(one.kind, f"{one.suspicion:.2f}", one.text, shown(f"{one.split}: {one.image}")) for one in top]
    widths = [max(display_width(row[column]) for row in rows) for column in range(3)]
    for rank, row in enumerate(rows, start=1):
        yield f"{rank:>4}  " + "  ".join([*(pad(row[column], widths[column]) for column in range(3)), row[3]])
    if len(found.suspects) > _SHOWN:
        yield f"and {counted(len(found.suspects) - _SHOWN, 'weaker suspect')}"
