"""Reader of boxes in a CSV file with one object per line, as in TensorFlow's object detection tutorials.

    filename,width,height,class,xmin,ymin,xmax,ymax
    a.jpg,640,480,cat,10,20,110,220

Columns may have any order; unknown columns are ignored. Coordinates are pixels counted from 0, and the right and lower
edges are exclusive: xmin 0 and xmax 10 is 10 pixels wide. Pascal VOC counts from 1, and converters from its XML to CSV
often keep its numbers. That cannot be detected; such boxes are shifted by one pixel. A line with a file name but
neither class nor coordinates is an image without objects.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from detect.data.readers.parsing import image_name, open_csv, sample_image_names
from detect.data.readers.reader import CSV_DELIMITERS, AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError

_COORDINATES = ("xmin", "ymin", "xmax", "ymax")
_OPTIONAL = ("height", "width")
# Accepted names of each column, the first one present wins. Case and surrounding spaces do not matter.
_COLUMN_NAMES = {
    "filename": ("filename", "image", "image_path", "path"),
    "class": ("class", "label", "name"),
    **{key: (key,) for key in (*_COORDINATES, *_OPTIONAL)},
}


class _Line(NamedTuple):
    """Content of one line.

    Attributes:
        image_hw: (height, width) of the image in pixels, (0, 0) if not given.
        label: class name.
        box: xyxy in pixels, or None for an image without objects.
    """

    image_hw: tuple[int, int]
    label: str
    box: tuple[float, ...] | None


class _Columns(NamedTuple):
    """Columns of a file.

    Attributes:
        positions: position of each known column by its key in ``_COLUMN_NAMES``.
        num_columns: number of all columns.
        delimiter: "," or ";".
    """

    positions: dict[str, int]
    num_columns: int
    delimiter: str


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a CSV file, see ``Reader.parse``. Images keep the order in which the file names them.

    An image whose lines state different sizes is skipped like an image of the wrong size. Raises DataError also when
    all coordinates are fractions of the image size.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    lines_of: dict[str, list[tuple[int, _Line | InvalidEntryError]]] = {}  # by image path as written
    largest = 0.0
    for number, written, line in _read_lines(annotations):
        if not written:
            assert isinstance(line, InvalidEntryError)
            builder.skip("malformed_object", Location(annotations.name, f"line {number}", str(line)), raw=line.raw)
            continue
        lines_of.setdefault(written, []).append((number, line))
        if isinstance(line, _Line) and line.box:
            largest = max(largest, *map(abs, line.box))
    if 0 < largest <= 1:
        raise DataError(f"{annotations}: no coordinate exceeds 1; coordinates should be pixels, not fractions")
    for name, paths in _group_by_image(lines_of, images, annotations).items():
        _add_image(builder, name, [line for path in paths for line in lines_of[path]])
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    return any(
        set(_COORDINATES) <= columns and "region_shape_attributes" not in columns for columns in file.csv_columns
    )


READER = Reader("CSV boxes", (".csv",), _recognize, parse, sample_image_names)


def _group_by_image(paths: Iterable[str], images: Path, annotations: Path) -> dict[str, list[str]]:
    """Return the paths, as written, of each image by its name in the folder ``images``.

    Raises DataError when different paths lead to the same name.
    """
    groups: dict[str, list[str]] = {}
    for path in paths:
        group = groups.setdefault(image_name(images, path), [])
        group.append(path)
        if PureWindowsPath(path) != PureWindowsPath(group[0]):  # equal with either slash, and with a leading ./
            raise DataError(
                f"{annotations} names {path[:100]} and {group[0][:100]}, but it is unknown which of them is in "
                f"{images}; write paths relative to that folder"
            )
    return groups


def _add_image(
    builder: UnvalidatedSplitBuilder, name: str, lines: Sequence[tuple[int, _Line | InvalidEntryError]]
) -> None:
    """Add an image with the objects of its ``lines``, which are pairs (line number, content)."""
    first_line_of: dict[tuple[int, int], int] = {}  # by size
    for number, line in lines:
        if isinstance(line, _Line) and line.image_hw[0]:
            first_line_of.setdefault(line.image_hw, number)
    image = builder.add_image(name, next(iter(first_line_of), (0, 0)))
    if len(first_line_of) > 1:
        sizes = ", ".join(f"{width}x{height} in line {number}" for (height, width), number in first_line_of.items())
        builder.skip("image_size_mismatch", Location(name, "", f"annotated as {sizes}"), image)
    for number, line in lines:
        if isinstance(line, InvalidEntryError):
            builder.skip(line.kind, Location(name, f"line {number}", str(line)), image, line.raw)
        elif line.box:
            builder.add_object(image, builder.label(line.label), number, box=line.box)


def _read_lines(annotations: Path) -> Iterator[tuple[int, str, _Line | InvalidEntryError]]:
    """Yield the line number (1 is the header), the image path as written or "", and the content of non-empty lines."""
    with open_csv(annotations) as file:
        columns = _read_header(file.readline(), annotations)
        rows = csv.reader(file, delimiter=columns.delimiter, strict=True)
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            written = ""
            line: _Line | InvalidEntryError = InvalidEntryError("malformed_object", "no image name")
            if len(cells) < columns.num_columns or any(cells[columns.num_columns :]):
                line = InvalidEntryError(
                    "malformed_object", f"{len(cells)} cells, but the header has {columns.num_columns}"
                )
            elif written := cells[columns.positions["filename"]]:
                line = _parse_line({key: cells[position] for key, position in columns.positions.items()})
            if isinstance(line, InvalidEntryError):
                line.raw = columns.delimiter.join(row)
            yield rows.line_num + 1, written, line  # csv counts lines after the header


def _read_header(line: str, annotations: Path) -> _Columns:
    candidates = []
    for delimiter in CSV_DELIMITERS:
        cells = [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        positions = {
            key: [cells.index(name) for name in names if name in cells] for key, names in _COLUMN_NAMES.items()
        }
        candidates.append(_Columns({key: p[0] for key, p in positions.items() if p}, len(cells), delimiter))
    columns = max(candidates, key=lambda candidate: len(candidate.positions))
    if missing := [key for key in _COLUMN_NAMES if key not in columns.positions and key not in _OPTIONAL]:
        raise DataError(f"{annotations} is not a CSV file of boxes: its header line lacks {', '.join(missing)}")
    return columns


def _parse_line(cells: Mapping[str, str]) -> _Line | InvalidEntryError:
    """Return the content of a line from its cells by column key; an error is returned, not raised."""
    label, coordinates = cells["class"], [cells[key] for key in _COORDINATES]
    try:
        height, width = (_parse_side(key, cells.get(key, "")) for key in _OPTIONAL)
        image_hw = (height, width) if height and width else (0, 0)
        if not label and not any(coordinates):
            return _Line(image_hw, "", None)
        if not label:
            raise InvalidEntryError("malformed_object", "no class name")
        box = tuple(_parse_number(key, text) for key, text in zip(_COORDINATES, coordinates, strict=True))
        if not all(map(math.isfinite, box)):
            raise InvalidEntryError("non_finite_box", str(box))
    except InvalidEntryError as problem:
        return problem
    return _Line(image_hw, label, box)


def _parse_side(key: str, text: str) -> int:
    """Return a width or height in pixels, 0 for an empty cell."""
    number = _parse_number(key, text) if text else 0.0
    if not (number.is_integer() and 0 <= number < 2**31):
        raise InvalidEntryError("malformed_object", f"{key} is {text[:60]!r}; expected a whole number")
    return int(number)


def _parse_number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidEntryError("malformed_object", f"{key} is {text[:60]!r}; expected a number") from None
