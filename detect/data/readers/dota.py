"""Reader of DOTA's text files with rotated boxes: one file per image.

Format: https://captain-whu.github.io/DOTA/dataset.html. Each line is the four corners of an object in pixels, its
class and optionally whether it is difficult: ``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``. The first lines may be
``imagesource:...`` and ``gsd:...``. Objects are read as the upright box around them and as a polygon. Difficult
objects are read as crowds, as those of Pascal VOC: they are not trained on, and evaluation ignores them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from detect.data.file_listing import files_below, without_suffix
from detect.data.readers.geometry import from_vertices
from detect.data.readers.parsing import is_number, parse_number, read_annotation_files
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError

_HEADERS = ("imagesource", "gsd", "acquisition dates")


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the text files in the folder ``annotations`` and its subfolders, see ``Reader.parse``."""
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    files = files_below(annotations, (".txt",))
    for file, lines, name in read_annotation_files(builder, files, _load, f"no DOTA file in {annotations}"):
        image = builder.add_image(name or f"{without_suffix(file)}.png", source=file)
        for number, line in lines:
            try:
                label, polygon, is_difficult = _parse_line(line)
            except InvalidEntryError as problem:
                builder.skip_object(problem, image, number, line)
                continue
            box, points = from_vertices(polygon[0::2], polygon[1::2])
            if not _is_upright(points):
                builder.note("rotated_box", image, number, label)
            builder.add_object(
                image, builder.label(label), number, box=box, mask=[points], mask_from_box=True, iscrowd=is_difficult
            )
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    """Return whether the first line with an object is eight numbers and a class."""
    lines = (line.split() for line in file.head_text.splitlines() if line.strip() and not _is_header(line))
    words = next(lines, [])
    try:
        numbers = [float(word) for word in words[:8]]
    except ValueError:
        return False
    return len(numbers) == 8 and 9 <= len(words) <= 10 and not is_number(words[8])


READER = Reader("DOTA text files", (".txt",), _recognize, parse, needs_matching_image=True)


def _load(path: Path) -> list[tuple[int, str]] | None:
    """Return the numbered lines with objects, None for a file of another kind. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    lines = list(_object_lines(text))
    return lines if not lines or any(len(line.split()) >= 9 for _, line in lines) else None


def _object_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not _is_header(line):
            yield number, line


def _is_header(line: str) -> bool:
    return ":" in line and line.strip().lower().startswith(_HEADERS)


def _parse_line(line: str) -> tuple[str, list[float], bool]:
    """Return the class, the corners [x1, y1, ..., x4, y4], and whether the object is difficult."""
    words = line.split()
    if not 9 <= len(words) <= 10:
        raise InvalidEntryError(
            "malformed_object", f"{len(words)} words; expected 8 coordinates, class and difficulty"
        )
    points = [parse_number("a coordinate", word) for word in words[:8]]
    if not all(map(math.isfinite, points)):
        raise InvalidEntryError("non_finite_box", line[:60])
    return words[8], points, len(words) == 10 and words[9] not in ("0", "0.0")


def _is_upright(points: Sequence[float]) -> bool:
    return len(set(points[0::2])) <= 2 and len(set(points[1::2])) <= 2
