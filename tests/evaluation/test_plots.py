"""Diagrams of an evaluation are drawn for any number of classes, whatever their names, and show the given numbers."""

from __future__ import annotations

import re
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from detect.evaluation import plots
from detect.evaluation.calibration import Calibration
from detect.media import figures
from detect.media.figures import Figure

NAMES = ("kite", "_under $x_1$", "猫", "n" * 300)


def drawn(figure: Figure, names: tuple[str, ...] = ()) -> tuple[int, int]:
    """Return (width, height) of the PNG of a figure, which must not be blank."""
    with Image.open(BytesIO(figures.png(figure, names))) as image:
        assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 5
        return image.size


def curves(classes: int) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0, 1, 101)
    return x, np.array([np.clip(1 - x * (1 + k / classes), 0, 1) for k in range(classes)])


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("classes", [1, 2, 4, 80])
@pytest.mark.parametrize("plot", [plots.precision_recall_figure, plots.f1_figure])
def test_each_class_has_a_curve_and_several_classes_have_a_mean(plot, classes):
    names = NAMES if classes == len(NAMES) else tuple(f"class {k}" for k in range(classes))
    x, y = curves(classes)
    figure = plot(x, y, names, np.arange(1, classes + 1))
    assert drawn(figure, names)[0] < 1000
    lines = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_ydata())]
    assert len(lines) == classes + (classes > 1)
    for curve in (*y, y.mean(axis=0)):
        assert any(np.allclose(curve, line) for line in lines)


def test_of_many_classes_those_with_most_objects_are_named():
    x, y = curves(80)
    figure = plots.precision_recall_figure(x, y, [f"c{k}" for k in range(80)], np.arange(80) % 70)
    named = [text.split()[0] for text in legend(figure)]
    assert named == [*(f"c{k}" for k in range(69, 61, -1)), "mean", "72"]


def test_a_class_without_objects_has_no_curve_and_does_not_change_the_mean():
    x, y = curves(3)
    y[1] = np.nan
    figure = plots.precision_recall_figure(x, y, ("a", "b", "c"), np.array([5, 0, 2]))
    assert [text.split()[0] for text in legend(figure)] == ["a", "c", "mean"]
    means = [f"{value:.2f}" for value in (y[0].mean(), y[2].mean(), y[[0, 2]].mean())]
    assert [text.split()[-1] for text in legend(figure)] == means
    assert drawn(plots.precision_recall_figure(x, y[1:2], ("b",), np.array([0])))


def test_the_legend_states_the_highest_f1_and_its_threshold():
    thresholds = np.array([0.1, 0.4, 0.7])
    f1 = np.array([[0.2, 0.9, 0.5], [0.5, 0.5, 0.1]])  # of two equal values the higher threshold is stated
    figure = plots.f1_figure(thresholds, f1, ("a", "b"), np.array([3, 2]), chosen=0.35)
    assert legend(figure) == [
        " threshold 0.35",
        " a  0.90 at 0.40",
        " b  0.50 at 0.40",
        " mean of 2 classes  0.70 at 0.40",
    ]


def test_few_classes_have_numbers_in_the_confusion_matrix():
    matrix = np.array([[7, 1, 2], [0, 9, 0], [3, 0, 0]])
    figure = plots.confusion_figure(matrix, ("a", "$b_1$"))
    assert drawn(figure)
    axis = figure.axes[0]
    at = {(round(x), round(y)): text.get_text() for text in axis.texts for x, y in [text.get_position()]}
    assert at == {(0, 0): "7", (1, 0): "1", (2, 0): "2", (1, 1): "9", (0, 2): "3"}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "$b_1$", "background"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "$b_1$", "missed"]
    colors = axis.images[0].get_array()
    assert np.allclose(colors, [[0.7, 0.1, 0.2], [0, 1, 0], [0.3, 0, 0]])


@pytest.mark.parametrize("classes", [1, 80, pytest.param(300, marks=pytest.mark.slow)])
def test_a_confusion_matrix_of_any_size_is_legible(classes):
    figure = plots.confusion_figure(np.eye(classes + 1, dtype=int), [f"class {k}" for k in range(classes)])
    width, height = drawn(figure)
    assert 400 < width < 2400 and 400 < height < 2400
    axis = figure.axes[0]
    assert bool(axis.texts) == (classes == 1)
    labels = axis.get_yticklabels()
    assert labels[-1].get_text() == "background"
    heights = [label.get_window_extent().y0 for label in labels[:-1]]
    assert all(one - other > 8 for one, other in pairwise(heights))  # pixels between names


def test_an_empty_confusion_matrix_is_drawn():
    assert drawn(plots.confusion_figure(np.zeros((2, 2), int), ("kite",)))


@pytest.mark.parametrize("classes", [1, 4, 80])
@pytest.mark.parametrize("plot", [plots.precision_recall_figure, plots.f1_figure])
def test_a_narrow_diagram_has_its_legend_below_and_space_for_its_curves(plot, classes):
    x, y = curves(classes)
    figure = plot(x, y, [f"class {k}" for k in range(classes)], np.arange(1, classes + 1), narrow=True)
    width, height = drawn(figure)
    axis = figure.axes[0]
    assert width < 500
    assert axis.get_position().height * height > 150
    assert axis.get_legend().get_window_extent().y1 < axis.get_window_extent().y0


def test_a_reliability_diagram_leaves_out_empty_bins():
    columns = (np.array([3, 0, 0, 9]), np.array([0.2, np.nan, np.nan, 0.9]), np.array([0.1, np.nan, np.nan, 0.8]))
    result = Calibration(*columns)
    figure = plots.reliability_figure(result)
    drawn(figure)
    (points,) = figure.axes[0].collections
    assert points.get_offsets().compressed().reshape(-1, 2).tolist() == [[0.2, 0.1], [0.9, 0.8]]
    areas = points.get_sizes()
    assert areas[-1] == areas.max()


def test_the_course_of_a_training_has_gaps_where_a_value_is_missing():
    epochs = [
        {"epoch": 1, "losses": {"loss": 2.0}, "val_losses": None, "val": {}},
        {"epoch": 2, "losses": {"loss": 1.0}, "val_losses": {"loss": 1.5}, "val": {"bbox": {"AP": 0.3, "AP50": None}}},
    ]
    figure = plots.training_figure(epochs)
    drawn(figure)
    lines = {line.get_label(): line.get_ydata() for axis in figure.axes for line in axis.get_lines()}
    assert set(lines) == {"train", "val", "bbox AP"}
    assert np.isnan(lines["val"][0]) and lines["val"][1] == 1.5


def test_an_svg_takes_the_colors_of_its_page_and_refers_to_nothing_else():
    x, y = curves(2)
    text = figures.svg(
        plots.precision_recall_figure(x, y, ("<kite>", '"&猫'), np.array([1, 2])), 'Curves of "a" & <b>'
    )
    root = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" '))
    assert root.get("aria-label") == 'Curves of "a" & <b>' and root.get("width") is None
    shown = "".join(root.itertext())
    assert "<kite>" in shown and '"&猫' in shown
    assert "currentColor" in text and "var(--c0" in text and "font-family" not in text and "#000000" not in text
    assert "<style" not in text and not re.search("https?://", text)


def test_a_figure_for_a_white_card_keeps_its_colors():
    text = figures.svg(plots.confusion_figure(np.eye(3, dtype=np.int64) * 4, ("a", "b")), "Confusion", adapts=False)
    assert "currentColor" not in text and "var(" not in text
