"""The label overview counts what is annotated, for any number of classes, images and objects."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detect.data.columns import StringColumn, no_masks
from detect.data.quality.label_overview import label_overview
from detect.data.table import Table, object_starts
from detect.media import figures
from detect.media.figures import Figure
from detect.structures.class_names import ClassNames


def table(images: list[int], labels: list[int], boxes: list[list[float]], num_images: int = 3) -> Table:
    """Return a table of images of 100 x 200 pixels (h x w); ``images`` are those of the objects, ascending."""
    n = len(images)
    return Table(
        folder=Path(),
        names=StringColumn.of(f"{i}.jpg" for i in range(num_images)),
        sources=None,
        image_hw=np.tile(np.array([100, 200], np.int32), (num_images, 1)),
        image_ids=np.arange(num_images),
        object_starts=object_starts(np.array(images, np.int64), num_images),
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        areas=np.ones(n),
        iscrowd=np.zeros(n, bool),
        annotation_ids=np.arange(n),
        numbers=np.arange(n),
        mask_rows=np.zeros(n, np.int64),
        masks=no_masks(1),
    )


def drawn(figure: Figure) -> None:
    with Image.open(BytesIO(figures.png(figure))) as image:
        assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 5
        assert 1000 < image.width < 1600 and 600 < image.height < 1000


def bars(figure: Figure) -> dict[str, int]:
    axis = figure.axes[0]
    names = [label.get_text() for label in axis.get_yticklabels()]
    return dict(zip(names, (int(bar.get_width()) for bar in axis.patches), strict=True))


def test_classes_are_sorted_by_their_number_of_objects():
    figure = label_overview(table([0, 0, 2], [3, 2, 3], [[0, 0, 10, 10]] * 3), ClassNames(("a", "_b $x$", "c")), "few")
    assert list(bars(figure).items()) == [("c", 2), ("_b $x$", 1), ("a", 0)]
    assert "3 objects in 3 images" in figure.get_suptitle()
    drawn(figure)


def test_of_many_classes_the_rare_ones_are_one_bar():
    labels = [k for k in range(1, 81) for _ in range(81 - k)]
    figure = label_overview(
        table([0] * len(labels), labels, [[0, 0, 9, 9]] * len(labels)), ClassNames(tuple(map(str, range(80))))
    )
    counted = bars(figure)
    assert len(counted) == 31 and list(counted)[:2] == ["0", "1"] and list(counted)[-1] == "50 other classes"
    assert sum(counted.values()) == len(labels)
    drawn(figure)


def test_sizes_and_centers_are_fractions_of_the_image():
    box = [100, 10, 180, 40]  # of 200 x 100 pixels (w x h): 0.4 x 0.3 around (0.7, 0.25)
    figure = label_overview(table([1], [1], [box]), ClassNames(("a",)))
    for axis, x, y in ((figure.axes[1], 0.4, 0.3), (figure.axes[2], 0.7, 0.25)):
        mesh = axis.images[0].get_array()
        rows, columns = np.nonzero(mesh)
        assert abs(rows[0] + 0.5 - 20 * y) <= 0.51 and abs(columns[0] + 0.5 - 20 * x) <= 0.51 and len(rows) == 1
    assert figure.axes[2].yaxis_inverted()


def test_images_without_objects_count_in_objects_per_image():
    figure = label_overview(table([0, 0, 0], [1] * 3, [[0, 0, 9, 9]] * 3), ClassNames(("a",)))
    axis = figure.axes[4]
    assert {round(bar.get_x() + bar.get_width() / 2): int(bar.get_height()) for bar in axis.patches} == {
        0: 2,
        1: 0,
        2: 0,
        3: 1,
    }
    assert "mean 1.0" in axis.get_title()


def test_crowds_and_objects_without_a_box_do_not_count():
    split = table([0, 0, 1], [1, 1, 1], [[0, 0, 9, 9], [np.nan] * 4, [0, 0, 50, 50]])
    split.iscrowd[2] = True
    assert bars(label_overview(split, ClassNames(("a",)))) == {"a": 1}


@pytest.mark.parametrize("count", [0, 1, 500])
def test_splits_of_any_size_are_drawn(count):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 50, (count, 2))], axis=1).tolist()
    drawn(label_overview(table([1] * count, [1] * count, boxes), ClassNames(("猫",)), "猫"))
