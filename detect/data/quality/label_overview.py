"""Overview of the annotations of a split as one figure: classes, sizes and positions of boxes, objects per image."""

from __future__ import annotations

import numpy as np

from detect.data.table import Table
from detect.media import figures
from detect.media.figures import Axes, Figure, colors, short_name, ticker
from detect.structures.class_names import ClassNames
from detect.text import counted

_MAX_BARS = 30  # classes with a bar of their own
_MANY = 10_000  # objects from which the bins of the two-dimensional histograms are narrow
_MAX_BINS = 40  # of the histogram of objects per image
_SIZES = (32, 96)  # pixels; sides of squares at which COCO's small and medium objects end


def label_overview(table: Table, class_names: ClassNames, title: str = "") -> Figure:
    """Return a figure of the objects of ``table``; crowds and boxes without a size do not count.

    Its diagrams: number of objects of each class (30 classes and the others together), width and height of the boxes
    and their centers as fractions of the image, the square root of their area in pixels, and objects per image.
    """
    heights, widths = table.image_hw[table.images].T.astype(float)
    kept = ~table.iscrowd & np.isfinite(table.boxes).all(axis=1) & (heights > 0) & (widths > 0)
    sides = np.stack([widths, heights, widths, heights], axis=1)[kept]
    boxes, labels = table.boxes[kept], table.labels[kept]
    relative = boxes / sides  # [N, 4] xyxy, fractions of the image
    width, height = relative[:, 2] - relative[:, 0], relative[:, 3] - relative[:, 1]
    square_side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))

    figure = figures.new_figure(12.4, 7.4)
    grid = figure.add_gridspec(2, 3, width_ratios=(1.15, 1, 1))
    _plot_classes(figure.add_subplot(grid[:, 0]), np.bincount(labels, minlength=len(class_names) + 1)[1:], class_names)
    _plot_density(
        figure.add_subplot(grid[0, 1]), width, height, "size of the boxes, relative to the image", "width", "height"
    )
    centers = figure.add_subplot(grid[0, 2])
    _plot_density(
        centers, relative[:, ::2].mean(axis=1), relative[:, 1::2].mean(axis=1), "centers of the boxes", "x", "y"
    )
    centers.invert_yaxis()  # y points down, as in the image
    _plot_sides(figure.add_subplot(grid[1, 1]), square_side)
    _plot_objects_per_image(figure.add_subplot(grid[1, 2]), np.bincount(table.images[kept], minlength=len(table)))
    figures.set_title(
        figure, f"{title}: " * bool(title) + f"{counted(len(boxes), 'object')} in {counted(len(table), 'image')}"
    )
    return figure


def _plot_classes(axis: Axes, counts: np.ndarray, class_names: ClassNames) -> None:
    by_count = np.argsort(-counts, kind="stable")
    shown, others = by_count[:_MAX_BARS], by_count[_MAX_BARS:]
    names = [short_name(class_names.names[i]).strip() for i in shown.tolist()]
    values = counts[shown].tolist()
    if len(others):
        names.append(counted(len(others), "other class", "other classes"))
        values.append(int(counts[others].sum()))
    rows = range(len(names))
    height = min(0.8, 0.1 + 0.07 * len(names))  # few bars share the whole height, but are not much wider than many
    bars = axis.barh(rows, values, height, color=["C0"] * len(shown) + ["0.7"] * bool(len(others)))
    axis.bar_label(bars, padding=3, fontsize=8)
    figures.style(axis, "objects of each class", "objects")
    axis.set_yticks(rows, names, fontsize=9)
    for label in axis.get_yticklabels():
        label.set_parse_math(False)
    axis.set_ylim(len(names) - 0.5, -0.5)  # the first class on top
    axis.margins(x=0.14)  # for the numbers beside the bars
    axis.grid(False, axis="y")
    axis.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))


def _plot_density(axis: Axes, x: np.ndarray, y: np.ndarray, title: str, xlabel: str, ylabel: str) -> None:
    bins = 50 if len(x) >= _MANY else 20
    density = np.histogram2d(x, y, bins, range=((0, 1), (0, 1)))[0].T  # [y, x]
    shade = colors.PowerNorm(0.5, 0, max(density.max(), 1))  # so that single objects are visible
    axis.imshow(density, cmap="Blues", norm=shade, extent=(0, 1, 0, 1), origin="lower", interpolation="nearest")
    figures.style(axis, title, xlabel, ylabel)
    axis.grid(False)


def _plot_sides(axis: Axes, sides: np.ndarray) -> None:
    figures.style(axis, "size of the boxes: square root of the area", "pixels (dotted: 32 and 96)", "objects")
    sides = sides[sides > 0]
    if len(sides):
        low, high = max(sides.min() / 1.1, 1e-3), sides.max() * 1.1
        axis.hist(sides, np.geomspace(low, high, 31).tolist(), color="C0")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=8))
        axis.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(ticker.NullFormatter())
        for side in _SIZES:
            if low < side < high:
                axis.axvline(side, color="0.4", linewidth=1, linestyle=":")
    axis.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))


def _plot_objects_per_image(axis: Axes, counts: np.ndarray) -> None:
    width = -(-(int(counts.max(initial=0)) + 1) // _MAX_BINS)  # of a bin, in objects
    edges = np.arange(0, counts.max(initial=0) + 1 + width, width) - 0.5
    axis.hist(counts, edges.tolist(), color="C0", rwidth=0.9)
    figures.style(axis, f"objects per image (mean {counts.mean() if len(counts) else 0:.1f})", "objects", "images")
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(ticker.MaxNLocator(integer=True))
