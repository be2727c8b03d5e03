"""Boxes in a CSV file, one line an object, as the tutorials of TensorFlow's object detection write them.

    filename,width,height,class,xmin,ymin,xmax,ymax
    a.jpg,640,480,cat,10,20,110,220

Columns are in any order, and others are passed over. Corners are in pixels from 0, as edges and not as pixels: one of
xmin 0 and xmax 10 is 10 pixels wide. (Pascal VOC counts from 1, and those who turn its XML into CSV leave the numbers
as they are; nobody can tell, and such boxes are off by a pixel here.) A line with a file and neither class nor corners
is an image without objects.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from detect.data.quality.problems import Place
from detect.data.readers.parsing import image_name, open_csv
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SIDES = ("height", "width")  # which may be left out
# What columns are called, the first name that is there; capitals and spaces around do not count.
_NAMES = {
    "filename": ("filename", "image", "image_path", "path"),
    "class": ("class", "label", "name"),
    **{key: (key,) for key in (*_CORNERS, *_SIDES)},
}
_DELIMITERS = (",", ";")


class _Line(NamedTuple):
    """hw: (height, width) of the image, (0, 0) where it is not said.  box: xyxy, None where there is no object."""

    hw: tuple[int, int]
    label: str
    box: tuple[float, ...] | None


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the file says of the images in the folder ``images``, in the order in which it names them.

    An image that is of one size in one line and of another in the next is left out, as one of a wrong size is.
    DataError for a file that is not of this format, also where all corners are in parts of the image.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    lines_of: dict[str, list[tuple[int, _Line | InvalidEntryError]]] = {}  # by the images as they are written
    farthest = 0.0
    for number, written, line in _lines(annotations):
        if not written:
            assert isinstance(line, InvalidEntryError)
            builder.skip("malformed", Place(annotations.name, f"line {number}", str(line)), raw=line.raw)
            continue
        lines_of.setdefault(written, []).append((number, line))
        if isinstance(line, _Line) and line.box:
            farthest = max(farthest, *map(abs, line.box))
    if 0 < farthest <= 1:
        raise DataError(f"{annotations}: no corner lies beyond 1; they should be in pixels, not in parts of the image")
    for name, paths in _by_name(lines_of, images, annotations).items():
        _add(builder, name, [line for path in paths for line in lines_of[path]])
    return builder.finish()


def _by_name(paths: Iterable[str], images: Path, annotations: Path) -> dict[str, list[str]]:
    """The paths of each image by its name; DataError where files of one name in different folders would be one."""
    found: dict[str, list[str]] = {}
    for path in paths:
        same = found.setdefault(image_name(images, path), [])
        same.append(path)
        if PureWindowsPath(path) != PureWindowsPath(same[0]):  # which are alike with either slash, and with ./ before
            raise DataError(
                f"{annotations} names {path[:100]} and {same[0][:100]}, and which of them is in {images} nobody "
                "knows; write paths that begin in that folder"
            )
    return found


def _add(builder: UnvalidatedSplitBuilder, name: str, lines: Sequence[tuple[int, _Line | InvalidEntryError]]) -> None:
    """Adds an image with its objects."""
    sizes: dict[tuple[int, int], int] = {}  # and the line that says each first
    for number, line in lines:
        if isinstance(line, _Line) and line.hw[0]:
            sizes.setdefault(line.hw, number)
    image = builder.add_image(name, next(iter(sizes), (0, 0)))
    if len(sizes) > 1:
        said = ", ".join(f"{width}x{height} in line {number}" for (height, width), number in sizes.items())
        builder.skip("wrong_size", Place(name, "", f"it is {said}"), image)
    for number, line in lines:
        if isinstance(line, InvalidEntryError):
            builder.skip(line.kind, Place(name, f"line {number}", str(line)), image, line.raw)
        elif line.box:
            builder.add_object(image, builder.label(line.label), number, box=line.box)


def _lines(annotations: Path) -> Iterator[tuple[int, str, _Line | InvalidEntryError]]:
    """The lines that are not empty: the number, from 1 with the header's, the image it names or "", what it says."""
    with open_csv(annotations) as file:
        columns, width, delimiter = _header(file.readline(), annotations)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            written = ""
            line: _Line | InvalidEntryError = InvalidEntryError("malformed", "it names no image")
            if len(cells) < width or any(cells[width:]):
                line = InvalidEntryError("malformed", f"it has {len(cells)} cells, the first line {width}")
            elif written := cells[columns["filename"]]:
                line = _line({key: cells[place] for key, place in columns.items()})
            if isinstance(line, InvalidEntryError):
                line.raw = delimiter.join(row)
            yield rows.line_num + 1, written, line  # the reader of the rows did not see the header


def _header(line: str, annotations: Path) -> tuple[dict[str, int], int, str]:
    """The place of each column that is there, how many there are with the others, and the delimiter."""
    found = []
    for delimiter in _DELIMITERS:
        cells = [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        there = {key: [cells.index(name) for name in names if name in cells] for key, names in _NAMES.items()}
        found.append(({key: places[0] for key, places in there.items() if places}, len(cells), delimiter))
    columns, width, delimiter = max(found, key=lambda one: len(one[0]))
    if missing := [key for key in _NAMES if key not in columns and key not in _SIDES]:
        raise DataError(f"{annotations} is no CSV file of boxes: its first line does not name {', '.join(missing)}")
    return columns, width, delimiter


def _line(cells: Mapping[str, str]) -> _Line | InvalidEntryError:
    """What the cells say, by the names of their columns."""
    label, corners = cells["class"], [cells[key] for key in _CORNERS]
    try:
        height, width = (_side(key, cells.get(key, "")) for key in _SIDES)
        hw = (height, width) if height and width else (0, 0)
        if not label and not any(corners):
            return _Line(hw, "", None)
        if not label:
            raise InvalidEntryError("malformed", "it has no class")
        box = tuple(_number(key, text) for key, text in zip(_CORNERS, corners, strict=True))
        if not all(map(math.isfinite, box)):
            raise InvalidEntryError("not_finite", str(box))
    except InvalidEntryError as problem:
        return problem
    return _Line(hw, label, box)


def _side(key: str, text: str) -> int:
    """A width or height, 0 where it is empty."""
    number = _number(key, text) if text else 0.0
    if not (number.is_integer() and 0 <= number < 2**31):
        raise InvalidEntryError("malformed", f"{key} is {text[:60]!r}, it should be a whole number")
    return int(number)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidEntryError("malformed", f"{key} is {text[:60]!r}, it should be a number") from None
