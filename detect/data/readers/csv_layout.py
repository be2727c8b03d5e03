"""Which column of a CSV file of boxes holds what: by the names in its header line, or by a known order of columns.

Two exports and one import format have no header line:

- makesense.ai: label, x, y, width, height, image, image width, image height,
- keras-retinanet: image, xmin, ymin, xmax, ymax, class; only the image for an image without objects,
- Google AutoML: set, image, label, and four vertices x, y as fractions, two or four of them given; the set may be
  missing.

Nothing is guessed: a header that fits several meanings, and lines in another order, are refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath

from detect.data.readers.reader import CSV_DELIMITERS
from detect.data.splits import split_from_path
from detect.media import formats

EXAMPLE_HEADER = "filename,class,xmin,ymin,xmax,ymax"
_IMAGE_SUFFIXES = tuple(formats.SUFFIXES)
# Names of columns without case, spaces and punctuation. Of several the first one counts.
_IMAGE = (
    *("filename", "imagename", "imagefilename", "imagefile", "image", "imagepath", "filepath", "img", "imgname"),
    *("imgpath", "imgfile", "file", "path", "imageid", "imgid"),
)
_CLASS = (
    *("classname", "labelname", "categoryname", "objectname", "class", "label", "category", "name", "object"),
    *("classid", "labelid", "categoryid"),
)
_SPLIT = ("split", "set", "subset", "usage", "partition", "mluse")
_SIZES = (("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"), ("imagew", "imageh"),
          ("imgw", "imgh"))  # fmt: skip
_PREFIXES = ("", "bbox", "box", "bndbox", "boundingbox", "rect")
_CORNERS = (
    *(("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1")),
    *(("left", "top", "right", "bottom"), ("minx", "miny", "maxx", "maxy"), ("xtl", "ytl", "xbr", "ybr")),
    *(("xstart", "ystart", "xend", "yend"), ("startx", "starty", "endx", "endy")),
)
_CENTERS = (("xcenter", "ycenter"), ("centerx", "centery"), ("cx", "cy"))
_UPPER_LEFTS = (("x", "y"), ("xmin", "ymin"), ("left", "top"), ("x1", "y1"), ("minx", "miny"))
_SIDES = (("width", "height"), ("w", "h"))
_TEXTS = {"bboxxywh": "xywh", "boxxywh": "xywh", "bboxxyxy": "xyxy", "boxxyxy": "xyxy"}
_UNCLEAR_TEXTS = ("bbox", "box", "boundingbox", "bboxes")
_WHEAT = {"imageid", "width", "height", "bbox", "source"}  # Kaggle's global wheat detection: xywh, one class
_OPEN_IMAGES = {"imageid", "labelname", "isgroupof"}  # has a reader of its own
_NOT_A_CLASS = {
    *("", "source", "confidence", "score", "conf", "id", "index", "area", "url", "imageurl", "iscrowd", "difficult"),
    *("truncated", "occluded", "pose", "depth", "unnamed0", "fold", "date"),
}
_NUMBER = re.compile(r"-?\d*\.?\d+(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """The columns of a CSV file, as positions from 0.

    Attributes:
        image, label, split: columns of the image, of the class, and of the split; None for a file without them.
        box: four columns of coordinates, one column with four numbers as text, or eight columns of vertices.
        form: "xyxy", "xywh", "cxcywh" (center, width, height), or "vertices" (x and y by turns; the box is around
            them).
        size_wh: columns of the width and height of the image, or ().
        num_columns: int.
        delimiter: str.
        order: names of the columns of a file without header line, for messages; "" for a file with one.
    """

    image: int
    label: int | None
    box: tuple[int, ...]
    form: str
    num_columns: int
    delimiter: str
    size_wh: tuple[int, ...] = ()
    split: int | None = None
    order: str = ""


def layout_of(line: str) -> Layout | str:
    """Return the layout of a CSV file by its first line, or why there is none, to follow the name of the file."""
    cells_by = {mark: split_line(line, mark) for mark in CSV_DELIMITERS}
    found = [_from_header(cells, mark) for mark, cells in cells_by.items()]
    found += [layout for mark, cells in cells_by.items() for layout in _headerless(mark) if fits(layout, cells)]
    layouts = [layout for layout in found if isinstance(layout, Layout)]
    if layouts:
        return max(layouts, key=lambda layout: layout.num_columns)
    mark = max(CSV_DELIMITERS, key=lambda mark: len(cells_by[mark]))
    reason = _from_header(cells_by[mark], mark)
    assert isinstance(reason, str)
    if any(cell.lower().endswith(_IMAGE_SUFFIXES) for cell in cells_by[mark]):
        reason += f"; if it has no header line, add one such as {EXAMPLE_HEADER}"
    return reason


def looks_like_boxes(line: str) -> bool:
    """Return whether the first line of a CSV file is that of a file of boxes, which may still be unclear."""
    if isinstance(layout_of(line), Layout):
        return True
    for mark in CSV_DELIMITERS:
        names = {_plain(cell) for cell in split_line(line, mark)}
        if names >= _OPEN_IMAGES or "regionshapeattributes" in names:
            return False
        has_box = _box_columns(dict.fromkeys(names, 0)) is not None or not names.isdisjoint(_UNCLEAR_TEXTS)
        if has_box and (not names.isdisjoint(_IMAGE) or names >= set(_CORNERS[0])):
            return True
    return False


def why_unclear(line: str) -> str:
    """Return why a CSV file cannot be read if its first line resembles that of a file of boxes, "" for other files."""
    reason = layout_of(line)
    if isinstance(reason, Layout):
        return ""
    known = {prefix + name for prefix in _PREFIXES for names in (*_CORNERS, *_UPPER_LEFTS, *_SIDES) for name in names}
    for mark in CSV_DELIMITERS:
        cells = split_line(line, mark)
        if {"annotation_id", "lead_time"} <= set(cells):
            return "it seems to be CSV of Label Studio, which is not read; export JSON in Label Studio"
        numbers = sum(1 for cell in cells if _NUMBER.fullmatch(cell))
        has_image = any(cell.lower().endswith(_IMAGE_SUFFIXES) for cell in cells)
        if len(known.intersection(map(_plain, cells))) > 2 or (has_image and numbers > 3):
            return f"it {reason}"
    return ""


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the cells of one line, without surrounding spaces."""
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def fits(layout: Layout, cells: Sequence[str]) -> bool:
    """Return whether a line of a file without header line has the order of columns of ``layout``."""
    if layout.form == "vertices" and len(cells) in (layout.num_columns - 2, layout.num_columns - 1):
        cells = [*cells, *[""] * (layout.num_columns - len(cells))]  # commas at the end are often left out
    if len(cells) != layout.num_columns or not cells[layout.image].lower().endswith(_IMAGE_SUFFIXES):
        return False
    if layout.split is not None and split_of(cells[layout.split]) is None:
        return False
    box, label = [cells[column] for column in layout.box], cells[layout.label or 0]
    if any(cell and not _NUMBER.fullmatch(cell) for cell in box):
        return False
    if layout.form == "vertices":
        pairs = all(bool(x) == bool(y) for x, y in zip(box[::2], box[1::2], strict=True))
        return pairs and any(box) == bool(label) and all(float(cell) <= 1 for cell in box if cell)
    if layout.form == "xyxy" and all(box) and not (float(box[0]) < float(box[2]) and float(box[1]) < float(box[3])):
        return False  # perhaps x, y, width, height
    sizes = [cells[column] for column in layout.size_wh]
    return (all(box) and bool(label) and all(map(str.isdecimal, sizes))) or not (any(box) or label or sizes)


def split_of(cell: str) -> str | None:
    """Return the split that a cell such as "TRAIN" names, "" for UNASSIGNED or an empty cell, None for other words."""
    return "" if cell.upper() in ("", "UNASSIGNED") else split_from_path(PurePosixPath(cell))


def _headerless(mark: str) -> tuple[Layout, ...]:
    vertices = "xmin, ymin, -, -, xmax, ymax, -, -"
    return (
        Layout(
            5,
            0,
            (1, 2, 3, 4),
            "xywh",
            8,
            mark,
            (6, 7),
            order="class, x, y, width, height, image, image width, image height",
        ),
        Layout(0, 5, (1, 2, 3, 4), "xyxy", 6, mark, order="image, xmin, ymin, xmax, ymax, class"),
        Layout(1, 2, tuple(range(3, 11)), "vertices", 11, mark, split=0, order=f"set, image, class, {vertices}"),
        Layout(0, 1, tuple(range(2, 10)), "vertices", 10, mark, order=f"image, class, {vertices}"),
    )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _from_header(cells: Sequence[str], mark: str) -> Layout | str:
    """Return the layout by the names in a header line, or why there is none."""
    at: dict[str, int] = {}
    for column, cell in enumerate(cells):
        at.setdefault(_plain(cell), column)
    if at.keys() >= _OPEN_IMAGES or "regionshapeattributes" in at:
        return "is a file of another format"
    box = _box_columns(at)
    image, label, split = (next((at[n] for n in names if n in at), None) for names in (_IMAGE, _CLASS, _SPLIT))
    if box is None and (unclear := [name for name in _UNCLEAR_TEXTS if name in at]):
        written = cells[at[unclear[0]]].strip()
        return (
            f"does not say what its column '{written}' holds; call it bbox_xywh for x, y, width, height, or bbox_xyxy "
            "for xmin, ymin, xmax, ymax"
        )
    lacking = ["filename"] if image is None else []
    others = [n for n in at if n not in _NOT_A_CLASS and not any(n in s for s in (_IMAGE, _SPLIT, *_SIZES))]
    others = [name for name in others if box is None or at[name] not in box[0]]
    if label is None and (box is None or others or image is None):
        lacking.append("class")
    if box is None:
        lacking += [name for name in _CORNERS[0] if name not in at]
    if lacking or image is None or box is None:
        lacks = f"is not a CSV file of boxes: its header line lacks {', '.join(lacking)}"
        if lacking == ["class"]:
            listed = ", ".join(cells[at[name]].strip() for name in others)
            lacks += f"; call the column of the class 'class', or delete {listed} if all objects have the same class"
        return lacks
    columns, form = box
    sizes = [tuple(at[name] for name in pair if name in at) for pair in _SIZES]
    size_wh = next((pair for pair in sizes if len(pair) == 2 and not set(pair) & set(columns)), ())
    return Layout(image, label, columns, form, len(cells), mark, size_wh, split)


def _box_columns(at: Mapping[str, int]) -> tuple[tuple[int, ...], str] | None:
    """Return the columns of the box and their form; None if the header names none, or corners of polygons.

    at: position of each column by its plain name.
    """
    sets = [
        *((names, "xyxy") for names in _CORNERS),
        *(((*point, *sides), "cxcywh") for point, sides in product(_CENTERS, _SIDES)),
        *(((*point, *sides), "xywh") for point, sides in product(_UPPER_LEFTS, _SIDES)),
    ]
    for (names, form), prefix in product(sets, _PREFIXES):
        prefixed = [prefix + name for name in names]
        if not all(name in at for name in prefixed) or (names[0] in ("x0", "x1") and f"{prefix}x3" in at):
            continue
        columns = tuple(at[name] for name in prefixed)
        # Elsewhere, width and height are those of the image.
        if form == "xyxy" or columns[2:] == (columns[1] + 1, columns[1] + 2):
            return columns, form
    if text := next((name for name in _TEXTS if name in at), ""):
        return (at[text],), _TEXTS[text]
    return ((at["bbox"],), "xywh") if at.keys() == _WHEAT else None
