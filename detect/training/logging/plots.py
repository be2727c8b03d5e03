"""The curves of a run as one image: losses, AP and learning rate by epoch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from detect.io.files import write_bytes
from detect.media.image_paths import shown

# Else the first import of matplotlib tells of the fonts it looks for, and of a home that it cannot write to.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter  # noqa: E402

MOST_CLASSES = 8  # that can be told apart by their colors
_DPI = 110
_CELL = (5.8, 3.7)  # width and height of a diagram in inches
_MOST_DOTS = 20  # epochs that are marked one by one
_WIDE = 10.0  # highest to lowest value, from which on an axis is logarithmic
_LONGEST_NAME = 24

Rows = Sequence[Mapping[str, Any]]


def write_curves(rows: Rows, path: Path, title: str, best: int = 0, metric: str = "bbox_AP") -> None:
    """Write a PNG of ``rows``, those of metrics.jsonl; DiskError where that fails. Without rows nothing is written.

    The ``best`` epoch, which is so by the ``metric``, is marked; 0 for none. 2 to 8 classes have their AP each.
    """
    if not rows:
        return
    classes = list(rows[-1]["val"].get("classes", {}))
    with_classes = 1 < len(classes) <= MOST_CLASSES
    height = 3 if with_classes else 2
    figure = Figure((2 * _CELL[0], height * _CELL[1]), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(height, 2)
    _draw_sum(axes[0, 0], rows)
    _draw_scores(axes[0, 1], rows, best, metric)
    _draw_parts(axes[1, 0], rows)
    _draw(axes[1, 1], rows, [row["lr"] for row in rows])
    _finish(axes[1, 1], rows, "learning rate")
    if with_classes:
        _draw_classes(axes[2, 0], axes[2, 1], rows, classes)
    figure.suptitle(shown(title), fontsize=13, parse_math=False)
    content = BytesIO()
    with warnings.catch_warnings():  # a class may be called in letters that the font lacks
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def _draw_sum(axis: Axes, rows: Rows) -> None:
    _draw(axis, rows, _loss(rows, "losses", "loss"), "train", color="C0")
    _draw(axis, rows, _loss(rows, "val_losses", "loss"), "val", color="C1")
    _finish(axis, rows, "loss", may_be_logarithmic=True)
    _name(axis, axis)


def _draw_parts(axis: Axes, rows: Rows) -> None:
    names = [name for name in rows[-1]["losses"] if name != "loss"]
    for number, name in enumerate(names):
        _draw(axis, rows, _loss(rows, "losses", name), name.removeprefix("loss_"), color=f"C{number}")
        _draw(axis, rows, _loss(rows, "val_losses", name), color=f"C{number}", linestyle="--")
    title = "parts of the loss" + (" (broken lines: val)" if any(row.get("val_losses") for row in rows) else "")
    _finish(axis, rows, title, may_be_logarithmic=True)
    _name(axis, axis)


def _draw_scores(axis: Axes, rows: Rows, best: int, metric: str) -> None:
    for number, kind in enumerate(("bbox", "segm")):
        for name, style in (("AP", "-"), ("AP50", ":")):
            values = [row["val"].get(kind, {}).get(name) for row in rows]
            _draw(axis, rows, values, f"{kind} {name}", color=f"C{number}", linestyle=style)
    title = "scores on val"
    if best:
        axis.axvline(best, color="0.7", linewidth=1, zorder=0)
        title += f" (best {metric.replace('_', ' ')}: epoch {best})"
    axis.set_ylim(0, 1)
    _finish(axis, rows, title)
    _name(axis, axis)


def _draw_classes(axis: Axes, names: Axes, rows: Rows, classes: Sequence[str]) -> None:
    """``names``: where the names have a place beside the curves, which they would hide."""
    for name in classes:
        values = [row["val"].get("classes", {}).get(name, {}).get("bbox", {}).get("AP") for row in rows]
        short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
        _draw(axis, rows, values, f" {shown(short)}")  # a label that begins with _ would be left out
    axis.set_ylim(0, 1)
    _finish(axis, rows, "bbox AP of each class")
    names.set_axis_off()
    _name(names, axis, loc="center left")


def _loss(rows: Rows, part: str, name: str) -> list[float | None]:
    return [(row.get(part) or {}).get(name) for row in rows]


def _draw(axis: Axes, rows: Rows, values: Sequence[float | None], label: str = "", **style: Any) -> None:
    """One curve, with a gap where an epoch has no value; none where no epoch has."""
    if any(value is not None for value in values):
        points = [float("nan") if value is None else value for value in values]
        dots = "." if len(rows) <= _MOST_DOTS else ""
        axis.plot([row["epoch"] for row in rows], points, label=label, marker=dots, linewidth=1.4, **style)


def _finish(axis: Axes, rows: Rows, title: str, *, may_be_logarithmic: bool = False) -> None:
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=9)
    axis.grid(True, color="0.9")
    axis.spines[["top", "right"]].set_visible(False)
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    axis.set_xlim(first - 0.5, last + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axis.set_xlabel("epoch", fontsize=9)
    if may_be_logarithmic:
        _fit_to_range(axis)


def _name(place: Axes, axis: Axes, **where: Any) -> None:
    """The names of the curves of ``axis``, if it has any, on ``place``."""
    handles, labels = axis.get_legend_handles_labels()
    if labels:
        for text in place.legend(handles, labels, fontsize=8, framealpha=0.6, **where).get_texts():
            text.set_parse_math(False)


def _fit_to_range(axis: Axes) -> None:
    """A logarithmic axis where small values could else not be told apart."""
    values = np.concatenate([np.ones(0), *(np.asarray(line.get_ydata(), float) for line in axis.get_lines())])
    values = values[values > 0]  # which NaN is not
    if len(values) and values.max() > _WIDE * values.min():
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
