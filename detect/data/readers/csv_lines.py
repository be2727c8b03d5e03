"""Lines of a CSV file of boxes."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from detect.data.readers.csv_layout import EXAMPLE_HEADER, Layout, fits, layout_of
from detect.data.readers.parsing import COORDINATES, first_csv_line, is_no_object, open_csv, parse_number
from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError

_DECIMAL_COMMA = re.compile(r"(-?\d*),(\d+)")
_EMPTY = ("", "nan", "none", "null", "[]")  # pandas writes nan for a missing value
_KEYS = {"xyxy": COORDINATES, "xywh": ("x", "y", "width", "height"), "cxcywh": ("x", "y", "width", "height")}


@dataclass(slots=True)
class Line:
    """One line that is not empty.

    Attributes:
        number: line number, counted from 1.
        path: image path as written, or "".
        image_hw: (height, width) of the image in pixels, (0, 0) if not given.
        label: class name.
        box: xyxy, or None for an image without objects.
        says_no_object: whether the line has a class or coordinates that mean that there is no object.
        split: split of the image as written, or "".
        problem: why the line is invalid; None for a valid line.
        raw: text of an invalid line.
    """

    number: int
    path: str = ""
    image_hw: tuple[int, int] = (0, 0)
    label: str = ""
    box: tuple[float, ...] | None = None
    says_no_object: bool = False
    split: str = ""
    problem: InvalidEntryError | None = None
    raw: str = ""


def read_lines(annotations: Path) -> tuple[Layout, Iterator[Line]]:
    """Return the layout of a file, and its lines that are not empty.

    Raises DataError for a file of another kind, and for a line that does not fit a layout without header line.
    """
    with open_csv(annotations) as file:
        layout = layout_of(first_csv_line(file)[0])
    if isinstance(layout, str):
        raise DataError(f"{annotations} {layout}")
    return layout, _lines_of(annotations, layout)


def _lines_of(annotations: Path, layout: Layout) -> Iterator[Line]:
    with open_csv(annotations) as file:
        first, number = first_csv_line(file)
        rows = csv.reader(chain([first], file), delimiter=layout.delimiter, skipinitialspace=True, strict=True)
        if not layout.order:
            next(rows)
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            line = Line(rows.line_num + number - 1)
            if layout.order and not fits(layout, cells):
                raise DataError(
                    f"{annotations} has no header line, but line {line.number} does not fit the columns of its first "
                    f"line, {layout.order}; add a header line such as {EXAMPLE_HEADER}"
                )
            try:
                _parse_cells(line, cells, layout)
            except InvalidEntryError as problem:
                line.problem, line.raw = problem, layout.delimiter.join(row)
            yield line


def _parse_cells(line: Line, cells: list[str], layout: Layout) -> None:
    """Set the content of a line. Raises InvalidEntryError."""
    if layout.form == "vertices":
        cells = [*cells, *[""] * (layout.num_columns - len(cells))]
    if len(cells) < layout.num_columns or any(cells[layout.num_columns :]):
        raise InvalidEntryError("malformed_object", f"{len(cells)} cells, but the header has {layout.num_columns}")
    line.path = cells[layout.image]
    if not line.path:
        raise InvalidEntryError("malformed_object", "no image name")
    line.split = "" if layout.split is None else cells[layout.split]
    sizes = zip(("width", "height"), layout.size_wh, strict=False)
    width, height = [_parse_side(key, cells[column]) for key, column in sizes] or (0, 0)
    line.image_hw = (height, width) if height and width else (0, 0)
    line.label = "" if layout.label is None else cells[layout.label]
    numbers = _parse_numbers([cells[column] for column in layout.box], layout)
    if is_no_object(line.label, numbers):
        line.says_no_object = bool(line.label or numbers)
    elif numbers is None and layout.label is not None:
        raise InvalidEntryError("malformed_object", "no coordinates")
    elif numbers is not None:
        if not line.label and layout.label is not None:
            raise InvalidEntryError("no_class", "no class name")
        if not all(map(math.isfinite, numbers)):
            raise InvalidEntryError("non_finite_box", str(numbers))
        line.box = _corners(numbers, layout.form)


def _parse_numbers(cells: list[str], layout: Layout) -> tuple[float, ...] | None:
    """Return the numbers of a box as written; None if all cells are empty. Raises InvalidEntryError."""
    if all(cell.lower() in _EMPTY for cell in cells):
        return None
    if len(cells) == 1:
        cells = [part for part in re.split(r"[,;\s]+", cells[0].strip("[](){} ")) if part]
        if len(cells) != 4:
            raise InvalidEntryError("malformed_object", f"the box has {len(cells)} numbers; expected 4")
    if layout.form == "vertices":
        cells = [cell for cell in cells if cell]
    if layout.delimiter != ",":
        cells = [_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in cells]
    keys = _KEYS.get(layout.form, ("x", "y") * 4)
    return tuple(parse_number(key, cell) for key, cell in zip(keys, cells, strict=False))


def _corners(numbers: tuple[float, ...], form: str) -> tuple[float, ...]:
    """Return a box of one of the forms of ``Layout`` as xyxy."""
    if form == "vertices":
        xs, ys = numbers[0::2], numbers[1::2]
        return min(xs), min(ys), max(xs), max(ys)
    x, y, right, lower = numbers
    if form == "xywh":
        return x, y, x + right, y + lower
    if form == "cxcywh":
        return x - right / 2, y - lower / 2, x + right / 2, y + lower / 2
    return numbers


def _parse_side(key: str, text: str) -> int:
    """Return a width or height in pixels, 0 for an empty cell."""
    number = parse_number(key, text) if text.lower() not in _EMPTY else 0.0
    if not (number.is_integer() and 0 <= number < 2**31):
        raise InvalidEntryError("malformed_object", f"{key} is {text[:60]!r}; expected a whole number")
    return int(number)
