"""Diagrams of an evaluation: precision against recall, F1, calibration, confusion matrix and course of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from detect.evaluation.calibration import Calibration
from detect.media import figures
from detect.media.figures import Axes, Figure, add_legend, colors, short_name, ticker
from detect.text import counted

_COLORS = ("C0", "C1", "C2", "C3", "C4", "C5", "C6", "C9")  # more curves cannot be distinguished; C7 is gray
_MAX_MARKERS = 20  # up to this number of epochs every point is marked
_MAX_NUMBERED = 26  # rows of a confusion matrix whose cells show their numbers
_NARROW = 4.4  # width in inches of a diagram for a phone, with its legend below
_MAX_TICKS = 110  # rows and columns of a confusion matrix that have a name beside them


def precision_recall_figure(
    recall: np.ndarray,
    precision: np.ndarray,
    names: Sequence[str],
    counts: np.ndarray,
    title: str = "",
    *,
    narrow: bool = False,
) -> Figure:
    """Return precision against recall: a curve per class, and their mean.

    recall: float [R], ascending, 0..1, such as COCO's 101 recalls.
    precision: float [K, R], 0..1; a row of NaN for a class without objects, which gets no curve.
    names: K class names.  counts: int [K], number of objects of each class; with more than 8 classes only the 8 with
    most objects have a color and a name.  title: what the curves are of.  narrow: whether the legend is below the
    diagram, for a phone, instead of beside it.
    """
    figure, axis = _new_diagram(narrow, len(names))
    _plot_curves(axis, recall, precision, names, counts, lambda curve, _: f"{curve.mean():.2f}")
    figures.style(axis, title or "precision and recall", "recall", "precision")
    _finish_curves(axis, "mean precision", narrow)
    return figure


def f1_figure(
    thresholds: np.ndarray,
    f1: np.ndarray,
    names: Sequence[str],
    counts: np.ndarray,
    chosen: float | None = None,
    title: str = "",
    *,
    best: Sequence[tuple[float, float] | None] = (),
    narrow: bool = False,
) -> Figure:
    """Return F1 against the score threshold: a curve per class, and their mean.

    thresholds: float [T], ascending, 0..1.
    f1: float [K, T], 0..1; a row of NaN for a class without objects, which gets no curve.
    names, counts, title, narrow: as in ``precision_recall_figure``.  chosen: threshold to mark, or None.
    best: F1 and threshold of each class and then of the mean, for the legend; by default, and for None, the highest F1
        of the curve.
    """
    figure, axis = _new_diagram(narrow, len(names))
    if chosen is not None:
        axis.axvline(chosen, color="0.5", linewidth=1, linestyle=":", label=f" threshold {chosen:.2f}")

    def highest(curve: np.ndarray, row: int) -> str:
        if best and (pair := best[row]) is not None:
            return f"{pair[0]:.2f} at {pair[1]:.2f}"
        last = thresholds[curve == curve.max()][-1]  # of equal ones, as choose_thresholds does
        return f"{curve.max():.2f} at {last:.2f}"

    _plot_curves(axis, thresholds, f1, names, counts, highest)
    figures.style(axis, title or "F1 by score threshold", "score threshold", "F1")
    _finish_curves(axis, "highest F1", narrow)
    return figure


def confusion_figure(matrix: np.ndarray, names: Sequence[str], title: str = "") -> Figure:
    """Return a confusion matrix as an image: a dark diagonal, and a light remainder, if the model is right.

    The color of a class' row is the fraction of its objects. The color of the background is the fraction of the
    detections in the same column.

    matrix: int [K + 1, K + 1]; a row per class of the ground truth, a column per detected class. The last row is
        background, so it counts detections without an object, and the last column counts objects without a detection.
    names: K class names.  title: what the matrix is of.
    Up to 26 rows have numbers in their cells. Up to 110 rows have their names, more rows every second name, and so on.
    """
    size = len(matrix)
    side = float(np.clip(0.42 * size if size <= _MAX_NUMBERED else 0.17 * size, 3.2, 17))
    figure = figures.new_figure(side + 2.6, side + 1.6)
    axis = figure.subplots()
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    fractions[-1] = matrix[-1] / np.maximum(matrix.sum(axis=0), 1)
    # The square root of the fraction, since a confusion of 2 % would otherwise look like none.
    image = axis.imshow(fractions, cmap="Blues", norm=colors.PowerNorm(0.5, 0, 1))
    figures.style(axis, title or "confusion matrix", "detected as", "ground truth")
    axis.grid(False)
    _name_rows_and_columns(axis, [short_name(name).strip() for name in names], size)
    if size <= _MAX_NUMBERED:
        _write_numbers(axis, matrix, fractions)
    bar = figure.colorbar(image, ax=axis, shrink=0.6, ticks=[0, 0.05, 0.2, 0.5, 1])
    bar.set_label("fraction of the row (background: of the column)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def reliability_figure(result: Calibration) -> Figure:
    """Return the fraction of correct detections against their mean score: on the diagonal if scores are
    probabilities. The area of a point grows with the number of detections."""
    figure = figures.new_figure(_NARROW, 3.6)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.5", linewidth=1, linestyle=":")
    axis.plot(result.mean_score, result.correct, color="C0", linewidth=1.3, zorder=2)
    area = 20 + 130 * result.counts / max(result.counts.max(initial=0), 1)
    axis.scatter(result.mean_score, result.correct, s=area, color="C0", zorder=3)
    figures.style(axis, "calibration", "mean score", "fraction of correct detections")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    return figure


def training_figure(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the loss and AP of boxes and masks on val per epoch, from the rows of metrics.jsonl."""
    figure = figures.new_figure(_NARROW, 5.4)
    loss, ap = figure.subplots(2, 1, sharex=True)
    numbers = [row["epoch"] for row in epochs]
    curves = [
        (loss, "train", "C0", "-", [row["losses"].get("loss") for row in epochs]),
        (loss, "val", "C1", "-", [(row.get("val_losses") or {}).get("loss") for row in epochs]),
        *(
            (ap, f"{kind} {name}", color, line, [row["val"].get(kind, {}).get(name) for row in epochs])
            for kind, color in (("bbox", "C0"), ("segm", "C1"))
            for name, line in (("AP", "-"), ("AP50", "--"))
        ),
    ]
    for axis, label, color, line, values in curves:
        if any(value is not None for value in values):
            points = [np.nan if value is None else value for value in values]
            marker = "." if len(epochs) <= _MAX_MARKERS else ""
            axis.plot(numbers, points, color=color, linestyle=line, marker=marker, linewidth=1.3, label=label)
    figures.style(loss, "loss")
    figures.style(ap, "metrics on val", "epoch")
    ap.set_ylim(0, 1)
    ap.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    for axis in (loss, ap):
        add_legend(axis, axis)
    return figure


def _plot_curves(
    axis: Axes,
    x: np.ndarray,
    curves: np.ndarray,
    names: Sequence[str],
    counts: np.ndarray,
    value_of: Callable[[np.ndarray, int], str],
) -> None:
    """Plot the rows of ``curves`` without NaN, those of the classes with most objects in color, and their mean.

    value_of: returns the text behind the name of a curve, of the curve and its row; the row of the mean is -1.
    """
    by_count = np.argsort(-np.asarray(counts), kind="stable")
    drawn = [int(i) for i in by_count if np.isfinite(curves[i]).all()]
    for i in drawn[len(_COLORS) :]:
        axis.plot(x, curves[i], color="0.75", linewidth=0.6, zorder=1)
    for i, color in zip(drawn, _COLORS, strict=False):
        label = f"{short_name(names[i])}  {value_of(curves[i], i)}"
        axis.plot(x, curves[i], color=color, linewidth=1.3, label=label, zorder=2)
    if len(drawn) > 1:
        mean = curves[drawn].mean(axis=0)
        label = f" mean of {len(drawn)} classes  {value_of(mean, -1)}"
        axis.plot(x, mean, color="0.25", linewidth=2.8, label=label, zorder=3)
    if more := len(drawn[len(_COLORS) :]):
        axis.plot([], [], color="0.75", label=f" {counted(more, 'class', 'classes')} with fewer objects")
    if not drawn:
        axis.text(0.5, 0.5, "no objects", ha="center", transform=axis.transAxes)


def _new_diagram(narrow: bool, classes: int) -> tuple[Figure, Axes]:
    rows = min(classes, len(_COLORS)) + 4  # of the legend, at most
    figure = figures.new_figure(*((_NARROW, 2.9 + 0.16 * rows) if narrow else (7.6, 4.6)))
    return figure, figure.subplots()


def _finish_curves(axis: Axes, legend_title: str, narrow: bool) -> None:
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(ticker.MultipleLocator(0.2))
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}
    if narrow:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
    add_legend(axis, axis, **place, title=legend_title, title_fontsize=8)


def _name_rows_and_columns(axis: Axes, names: Sequence[str], size: int) -> None:
    step = -(-size // _MAX_TICKS)
    ticks = [*range(0, size - 1, step), size - 1]
    font = 9 if size <= _MAX_NUMBERED else 7
    shown = [*names, "background"]
    axis.set_xticks(ticks, [*(shown[i] for i in ticks[:-1]), "missed"], fontsize=font, rotation=90)
    axis.set_yticks(ticks, [shown[i] for i in ticks], fontsize=font)
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        label.set_parse_math(False)


def _write_numbers(axis: Axes, matrix: np.ndarray, fractions: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(matrix), strict=True):
        color = "white" if fractions[row, column] > 0.3 else "black"
        number = f"{matrix[row, column]:d}"
        axis.text(column, row, number, ha="center", va="center", color=color, fontsize=9 if len(number) < 5 else 7)
