"""Contact sheet of suspected annotation errors: parts of images with annotation and detection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from detect.data.dataset import read_record
from detect.errors import DetectError
from detect.evaluation.label_check import LabelError, LabelErrors
from detect.evaluation.report.crops import surroundings
from detect.media.fonts import draw_text, text_length, warn_of_missing_glyphs
from detect.media.image_paths import shown
from detect.progress import bar

_COLUMNS = 6
_SIDE, _GAP = 280, 10  # pixels of a crop, and between crops
_FONT, _LINE = 13, 18  # pixels
_LINES = 3  # of text above a crop
_HEAD = 2 * _LINE
ANNOTATED, DETECTED, OTHER = (0, 150, 60), (225, 0, 150), (60, 190, 120)
_DASH = 7  # pixels


def contact_sheet(found: LabelErrors, ranks: Sequence[int]) -> bytes:
    """Return a PNG with the suspects at ``ranks``, positions in ``found.suspects`` from 0.

    The annotation concerned is a solid green box, the detection a dashed magenta one, other annotations thin lines.
    """
    chosen = [found.suspects[rank] for rank in ranks]
    warn_of_missing_glyphs([*found.class_names.names, *(one.image for one in chosen)])
    rows = -(-len(chosen) // _COLUMNS)
    cell_hw = (_LINES * _LINE + _SIDE + _GAP, _SIDE + _GAP)
    size = (_COLUMNS * cell_hw[1] + _GAP, rows * cell_hw[0] + _HEAD + _GAP)
    sheet = Image.new("RGB", size, "white")
    _draw_legend(ImageDraw.Draw(sheet), found)
    crops = _crops(found, chosen)
    for position, (rank, one) in enumerate(zip(ranks, chosen, strict=True)):
        row, column = divmod(position, _COLUMNS)
        x, y = _GAP + column * cell_hw[1], _HEAD + row * cell_hw[0]
        texts = (f"{rank + 1}. {one.kind} {one.suspicion:.2f}", one.text, shown(f"{one.split}: {one.image}"))
        _draw_texts(sheet, (x, y), texts)
        sheet.paste(crops[position], (x, y + _LINES * _LINE))
    content = BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _draw_legend(drawing: ImageDraw.ImageDraw, found: LabelErrors) -> None:
    x, y = float(_GAP), _LINE // 2
    for color, text in (
        (ANNOTATED, "annotation (solid)"),
        (DETECTED, f"detection of {shown(found.model)} (dashed)"),
        (OTHER, "other annotations (thin)"),
    ):
        draw_text(drawing, (x, y), text, _FONT, color)
        x += text_length(text, _FONT) + 3 * _GAP


def _draw_texts(sheet: Image.Image, corner: tuple[int, int], texts: Sequence[str]) -> None:
    """Draw lines of text. A line that is too long for a crop is cut at its end, or a file name at its start."""
    drawing = ImageDraw.Draw(sheet)
    for number, text in enumerate(texts):
        line, is_name = " ".join(text.split()), number == len(texts) - 1
        while text_length(line, _FONT) > _SIDE:
            line = f"...{line.removeprefix('...')[1:]}" if is_name else f"{line.removesuffix('...')[:-1]}..."
        draw_text(drawing, (corner[0], corner[1] + number * _LINE), line, _FONT, "black")


def _crops(found: LabelErrors, chosen: Sequence[LabelError]) -> list[Image.Image]:
    """Return the crop of each suspect; a gray one for an image that cannot be read any more."""
    crops = [Image.new("RGB", (_SIDE, _SIDE), "lightgray") for _ in chosen]
    by_image: dict[tuple[str, int], list[int]] = defaultdict(list)
    for position, one in enumerate(chosen):
        by_image[one.split, one.index].append(position)
    for (split, index), positions in bar(by_image.items(), desc="draw suspects", min_items=10):
        record = found.tables[split][index]
        try:
            image = read_record(record, lambda: None)
        except DetectError:
            continue
        for position in positions:
            crops[position] = _crop(image, chosen[position], record.boxes)
    return crops


def _crop(image: np.ndarray, one: LabelError, boxes: np.ndarray) -> Image.Image:
    """Return the surroundings of a suspect in ``image``, uint8 RGB [H, W, 3], with boxes; 280 pixels wide or high."""
    concerned = np.array([box for box in (one.annotated_box, one.detected_box) if box is not None])
    left, top, right, bottom = surroundings(concerned, (image.shape[0], image.shape[1]))
    scale = _SIDE / max(right - left, bottom - top)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right])).resize(size, Image.Resampling.BICUBIC)
    drawing = ImageDraw.Draw(part)
    corner = np.array([left, top, left, top])
    for row, box in enumerate(boxes):
        if row != one.row:
            _draw_box(drawing, (box - corner) * scale, OTHER, 1)
    if one.annotated_box is not None:
        _draw_box(drawing, (np.array(one.annotated_box) - corner) * scale, ANNOTATED, 3)
    if one.detected_box is not None:
        _draw_dashed_box(drawing, (np.array(one.detected_box) - corner) * scale, DETECTED, 3)
    return part


def _draw_box(drawing: ImageDraw.ImageDraw, box: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    x0, y0, x1, y1 = box.tolist()
    drawing.rectangle((x0, y0, max(x1, x0), max(y1, y0)), outline=color, width=width)


def _draw_dashed_box(drawing: ImageDraw.ImageDraw, box: np.ndarray, color: tuple[int, int, int], width: int) -> None:
    x0, y0, x1, y1 = box.clip(-_SIDE, 2 * _SIDE).tolist()
    for x in np.arange(x0, x1, 2 * _DASH).tolist():
        for y in (y0, y1):
            drawing.line((x, y, min(x + _DASH, x1), y), fill=color, width=width)
    for y in np.arange(y0, y1, 2 * _DASH).tolist():
        for x in (x0, x1):
            drawing.line((x, y, x, min(y + _DASH, y1)), fill=color, width=width)
