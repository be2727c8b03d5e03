"""Plots of a run in one PNG file: losses, AP and learning rate per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detect.io.files import write_bytes
from detect.media import figures
from detect.media.figures import Axes, add_legend, short_name, ticker

MAX_CLASSES = 8  # more curves than this cannot be distinguished by color
_CELL = (5.8, 3.7)  # width and height of one diagram in inches
_MAX_MARKERS = 20  # up to this number of epochs every point is marked
_LOG_RATIO = 10.0  # ratio of the highest to the lowest value above which an axis is logarithmic

Rows = Sequence[Mapping[str, Any]]


def write_curves(rows: Rows, path: Path, title: str, best: int = 0, metric: str = "bbox_AP") -> None:
    """Write the plots of the ``rows`` of metrics.jsonl to ``path``; without rows nothing is written.

    best: number of the best epoch by ``metric``, which is marked; 0 for none.
    With 2 to 8 classes there is a diagram of their AP. Raises DiskError.
    """
    if not rows:
        return
    classes = list(rows[-1]["val"].get("classes", {}))
    with_classes = 1 < len(classes) <= MAX_CLASSES
    height = 3 if with_classes else 2
    figure = figures.new_figure(2 * _CELL[0], height * _CELL[1])
    axes = figure.subplots(height, 2)
    _plot_total_loss(axes[0, 0], rows)
    _plot_metrics(axes[0, 1], rows, best, metric)
    _plot_losses(axes[1, 0], rows)
    _plot(axes[1, 1], rows, [row["lr"] for row in rows])
    _finish(axes[1, 1], rows, "learning rate")
    if with_classes:
        _plot_classes(axes[2, 0], axes[2, 1], rows, classes)
    figures.set_title(figure, title)
    write_bytes(path, figures.png(figure, [title, *(classes if with_classes else ())]))


def _plot_total_loss(axis: Axes, rows: Rows) -> None:
    _plot(axis, rows, _loss(rows, "losses", "loss"), "train", color="C0")
    _plot(axis, rows, _loss(rows, "val_losses", "loss"), "val", color="C1")
    _finish(axis, rows, "loss", may_be_logarithmic=True)
    add_legend(axis, axis)


def _plot_losses(axis: Axes, rows: Rows) -> None:
    names = [name for name in rows[-1]["losses"] if name != "loss"]
    for number, name in enumerate(names):
        _plot(axis, rows, _loss(rows, "losses", name), name.removeprefix("loss_"), color=f"C{number}")
        _plot(axis, rows, _loss(rows, "val_losses", name), color=f"C{number}", linestyle="--")
    title = "loss terms" + (" (dashed: val)" if any(row.get("val_losses") for row in rows) else "")
    _finish(axis, rows, title, may_be_logarithmic=True)
    add_legend(axis, axis)


def _plot_metrics(axis: Axes, rows: Rows, best: int, metric: str) -> None:
    for number, kind in enumerate(("bbox", "segm")):
        for name, style in (("AP", "-"), ("AP50", ":")):
            values = [row["val"].get(kind, {}).get(name) for row in rows]
            _plot(axis, rows, values, f"{kind} {name}", color=f"C{number}", linestyle=style)
    title = "metrics on val" if any(row["val"] for row in rows) else "no metrics, since the run has no val images"
    if best:
        axis.axvline(best, color="0.7", linewidth=1, zorder=0)
        title += f" (best {metric.replace('_', ' ')}: epoch {best})"
    axis.set_ylim(0, 1)
    _finish(axis, rows, title)
    add_legend(axis, axis)


def _plot_classes(axis: Axes, legend_axis: Axes, rows: Rows, classes: Sequence[str]) -> None:
    """Plot the AP of each class; the legend gets its own diagram, since it would hide the curves."""
    for name in classes:
        values = [row["val"].get("classes", {}).get(name, {}).get("bbox", {}).get("AP") for row in rows]
        _plot(axis, rows, values, short_name(name))
    axis.set_ylim(0, 1)
    _finish(axis, rows, "bbox AP per class")
    legend_axis.set_axis_off()
    add_legend(legend_axis, axis, loc="center left")


def _loss(rows: Rows, key: str, name: str) -> list[float | None]:
    return [(row.get(key) or {}).get(name) for row in rows]


def _plot(axis: Axes, rows: Rows, values: Sequence[float | None], label: str = "", **style: Any) -> None:
    """Plot one curve with gaps where the value is None; nothing if every value is None."""
    if any(value is not None for value in values):
        points = [float("nan") if value is None else value for value in values]
        marker = "." if len(rows) <= _MAX_MARKERS else ""
        axis.plot([row["epoch"] for row in rows], points, label=label, marker=marker, linewidth=1.4, **style)


def _finish(axis: Axes, rows: Rows, title: str, *, may_be_logarithmic: bool = False) -> None:
    figures.style(axis, title, "epoch")
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    axis.set_xlim(first - 0.5, last + 0.5)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    if may_be_logarithmic:
        _make_logarithmic_if_wide(axis)


def _make_logarithmic_if_wide(axis: Axes) -> None:
    """Use a logarithmic axis if the values span more than a factor of 10."""
    values = np.concatenate([np.ones(0), *(np.asarray(line.get_ydata(), float) for line in axis.get_lines())])
    values = values[values > 0]  # drops NaN too
    if len(values) and values.max() > _LOG_RATIO * values.min():
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.yaxis.set_minor_formatter(ticker.NullFormatter())
