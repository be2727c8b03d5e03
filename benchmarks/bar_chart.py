"""A bar chart of measurements as a PNG file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from detect.io.files import write_bytes


def write(path: Path, title: str, values: Mapping[str, float]) -> None:
    """Write a horizontal bar for each name, the first on top, with its value at the end. Raises DiskError."""
    from detect.media import figures  # it imports matplotlib, which loads slowly

    figure = figures.new_figure(8.0, 1.2 + 0.35 * len(values))
    axis = figure.add_subplot()
    figures.style(axis, "")
    axis.grid(False, axis="y")
    bars = axis.barh(list(values), list(values.values()), color="C0")
    axis.bar_label(bars, fmt="%.0f", padding=4, fontsize=9)
    axis.invert_yaxis()
    axis.margins(x=0.1)
    figures.set_title(figure, title)
    write_bytes(path, figures.png(figure, [title]))
