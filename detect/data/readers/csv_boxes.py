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
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from detect.data.readers.parsing import COORDINATES, image_name, open_csv, parse_number, sample_image_names
from detect.data.readers.reader import CSV_DELIMITERS, AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError

_OPTIONAL = ("height", "width")
# Accepted names of each column, the first one present wins. Case and surrounding spaces do not matter.
_COLUMN_NAMES = {
    "filename": ("filename", "image", "image_path", "path"),
    "class": ("class", "label", "name"),
    **{key: (key,) for key in (*COORDINATES, *_OPTIONAL)},
}


@dataclass(slots=True)
class _Line:
    """One line that is not empty.

    Attributes:
        number: line number; 1 is the header.
        path: image path as written, or "".
        image_hw: (height, width) of the image in pixels, (0, 0) if not given.
        label: class name.
        box: xyxy in pixels, or None for an image without objects.
        problem: why the line is invalid; None for a valid line.
        raw: text of an invalid line.
    """

    number: int
    path: str = ""
    image_hw: tuple[int, int] = (0, 0)
    label: str = ""
    box: tuple[float, ...] | None = None
    problem: InvalidEntryError | None = None
    raw: str = ""


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a CSV file, see ``Reader.parse``. Images keep the order in which the file names them.

    An image whose lines state different sizes is skipped like an image of the wrong size. Raises DataError also when
    all coordinates are fractions of the image size.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    lines_of: dict[str, list[_Line]] = {}  # by image path as written
    largest = 0.0
    for line in _read_lines(annotations):
        if line.path:
            lines_of.setdefault(line.path, []).append(line)
        else:
            location = Location(annotations.name, f"line {line.number}", str(line.problem))
            builder.skip("malformed_object", location, raw=line.raw)
        largest = max(largest, *map(abs, line.box or (0,)))
    if 0 < largest <= 1:
        raise DataError(f"{annotations}: no coordinate exceeds 1; coordinates should be pixels, not fractions")
    for name, paths in _group_by_image(lines_of, images, annotations).items():
        _add_image(builder, name, [line for path in paths for line in lines_of[path]])
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    return any(
        set(COORDINATES) <= columns and "region_shape_attributes" not in columns for columns in file.csv_columns
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


def _add_image(builder: UnvalidatedSplitBuilder, name: str, lines: Sequence[_Line]) -> None:
    """Add an image with the objects of its ``lines``."""
    first_line_of: dict[tuple[int, int], int] = {}  # by size
    for line in lines:
        if line.image_hw[0]:
            first_line_of.setdefault(line.image_hw, line.number)
    image = builder.add_image(name, next(iter(first_line_of), (0, 0)))
    if len(first_line_of) > 1:
        sizes = ", ".join(f"{width}x{height} in line {number}" for (height, width), number in first_line_of.items())
        builder.skip("image_size_mismatch", Location(name, "", f"annotated as {sizes}"), image)
    for line in lines:
        if line.problem:
            builder.skip_object(line.problem, image, line.number, line.raw)
        elif line.box:
            builder.add_object(image, builder.label(line.label), line.number, box=line.box)


def _read_lines(annotations: Path) -> Iterator[_Line]:
    """Yield the lines that are not empty."""
    with open_csv(annotations) as file:
        columns, num_columns, delimiter = _read_header(file.readline(), annotations)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            line = _Line(rows.line_num + 1)  # csv counts lines after the header
            try:
                if len(cells) < num_columns or any(cells[num_columns:]):
                    raise InvalidEntryError(
                        "malformed_object", f"{len(cells)} cells, but the header has {num_columns}"
                    )
                _parse_cells(line, {key: cells[position] for key, position in columns.items()})
            except InvalidEntryError as problem:
                line.problem, line.raw = problem, delimiter.join(row)
            yield line


def _read_header(line: str, annotations: Path) -> tuple[dict[str, int], int, str]:
    """Return the position of each known column by its key in ``_COLUMN_NAMES``, the number of all columns, and the
    delimiter."""
    candidates = []
    for delimiter in CSV_DELIMITERS:
        cells = [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])]
        named = {key: next((n for n in names if n in cells), None) for key, names in _COLUMN_NAMES.items()}
        candidates.append(({key: cells.index(name) for key, name in named.items() if name}, len(cells), delimiter))
    columns, num_columns, delimiter = max(candidates, key=lambda candidate: len(candidate[0]))
    if missing := [key for key in _COLUMN_NAMES if key not in columns and key not in _OPTIONAL]:
        raise DataError(f"{annotations} is not a CSV file of boxes: its header line lacks {', '.join(missing)}")
    return columns, num_columns, delimiter


def _parse_cells(line: _Line, cells: Mapping[str, str]) -> None:
    """Set the content of a line from its cells by column key. Raises InvalidEntryError."""
    line.path = cells["filename"]
    if not line.path:
        raise InvalidEntryError("malformed_object", "no image name")
    height, width = (_parse_side(key, cells.get(key, "")) for key in _OPTIONAL)
    box, label = None, cells["class"]
    if label or any(cells[key] for key in COORDINATES):
        if not label:
            raise InvalidEntryError("malformed_object", "no class name")
        box = tuple(parse_number(key, cells[key]) for key in COORDINATES)
        if not all(map(math.isfinite, box)):
            raise InvalidEntryError("non_finite_box", str(box))
    line.image_hw = (height, width) if height and width else (0, 0)
    line.label, line.box = label, box


def _parse_side(key: str, text: str) -> int:
    """Return a width or height in pixels, 0 for an empty cell."""
    number = parse_number(key, text) if text else 0.0
    if not (number.is_integer() and 0 <= number < 2**31):
        raise InvalidEntryError("malformed_object", f"{key} is {text[:60]!r}; expected a whole number")
    return int(number)
