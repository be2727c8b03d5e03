"""Contact sheet of a dataset: images with boxes and masks, as annotated and as augmented for training."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from detect import progress
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset, read_record
from detect.data.table import Table
from detect.errors import DetectError
from detect.io.files import write_bytes
from detect.media.drawing import draw
from detect.media.drawing_style import DrawingStyle
from detect.media.fonts import warn_of_missing_glyphs, without_glyph_warnings
from detect.media.image_paths import shown
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.text import counted

_PAIRS = 2  # per row of the sheet
_CELL = (3.6, 2.9)  # width and height of one image, inches
_DPI = 120
_MAX_NAME = 40  # characters


def write_sheet(
    path: Path, table: Table, class_names: ClassNames, transform: TrainTransform, count: int, seed: int = 0
) -> list[str]:
    """Write a PNG with ``count`` random images of the table, each beside the result of ``transform``.

    Images with objects are preferred. Returns the names of the images shown. Raises DiskError if the file cannot be
    written.
    """
    rng = np.random.default_rng(seed)
    filled = np.diff(table.object_starts) > 0
    order = np.lexsort((rng.random(len(table)), ~filled))[:count]
    dataset = DetectionDataset(table, transform, with_masks=table.has_masks, seed=seed)
    rows, columns = -(-len(order) // _PAIRS), 2 * _PAIRS
    figure = Figure((columns * _CELL[0], rows * _CELL[1]), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for index, row in enumerate(progress.bar(order.tolist(), desc="drawing")):
        name = shown(table.names[row])
        title = name if len(name) <= _MAX_NAME else f"...{name[-_MAX_NAME:]}"
        try:
            objects = counted(len(table[row]), "object")
            _show(axes[2 * index], _as_annotated(table, row, class_names), f"{title}\n{objects}, as annotated")
            _show(axes[2 * index + 1], _as_augmented(dataset, row, class_names), "as augmented for training")
        except DetectError:  # such as a truncated image, which doctor.py check reports
            axes[2 * index].set_title(f"{title}\ncannot be read", fontsize=8, parse_math=False)
    warn_of_missing_glyphs((table.names[row] for row in order.tolist()), system=False)
    content = BytesIO()
    with without_glyph_warnings():
        figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())
    return [table.names[row] for row in order.tolist()]


def _as_annotated(table: Table, row: int, class_names: ClassNames) -> np.ndarray:
    record = table[row]
    return _drawn(read_record(record, on_truncated=bool), Detections.of_record(record), class_names)


def _as_augmented(dataset: DetectionDataset, row: int, class_names: ClassNames) -> np.ndarray:
    image, target = dataset[row]
    pixels = np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    boxes, labels = target["boxes"].numpy(), target["labels"].numpy()
    rles = [masks.from_bitmap(bitmap) for bitmap in target["masks"].numpy()] if "masks" in target else None
    scores = np.ones(len(boxes), np.float32)
    return _drawn(pixels, Detections(pixels.shape[:2], boxes, scores, labels, rles), class_names)


def _drawn(image: np.ndarray, ground_truth: Detections, class_names: ClassNames) -> np.ndarray:
    drawn = Image.fromarray(draw(image, ground_truth, class_names, DrawingStyle(hide_scores=True)))
    drawn.thumbnail((round(2 * _CELL[0] * _DPI), round(2 * _CELL[1] * _DPI)))  # matplotlib would keep a full-size copy
    return np.asarray(drawn)


def _show(axis: Axes, image: np.ndarray, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=8, parse_math=False)
