"""Reader of the boxes of Open Images: one CSV file for many images, with coordinates as fractions of the image.

    ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside

Format: https://storage.googleapis.com/openimages/web/download_v7.html. An image ID is the name of an image file
without its suffix. The file usually describes many more images than were downloaded: those without a file are ignored.
Boxes with IsGroupOf 1 are read as crowds. Label names such as ``/m/0k4j`` are translated to class names by a file
``*class-descriptions*.csv`` or ``classes.csv`` in the folder of the annotations, the one above, or the folder
``metadata`` beside it, as FiftyOne writes it; without such a file they are the classes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from detect.data.file_listing import images_below, without_suffix
from detect.data.readers.parsing import SAMPLED, open_csv, parse_number, size_on_disk
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError
from detect.progress import warn
from detect.text import counted

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = ("imageid", "labelname", *_EDGES)


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a CSV file of Open Images, see ``Reader.parse``; ``classes`` is ignored."""
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    file_of = {PurePosixPath(without_suffix(name)).name: name for name in reversed(images_below(images))}
    names = _class_names(annotations)
    rows: dict[str, tuple[int, tuple[int, int]]] = {}  # image ID -> index of the image and its size
    without_file: set[str] = set()
    codes: dict[str, None] = {}
    for number, cells, raw in _read_lines(annotations):
        image_id = cells.get("imageid", "")
        if not image_id:
            builder.skip("malformed_object", Location(annotations.name, f"line {number}", "no ImageID"), raw=raw)
            continue
        if image_id not in file_of:
            without_file.add(image_id)
            continue
        if image_id not in rows:
            hw = size_on_disk(images / file_of[image_id])
            rows[image_id] = builder.add_image(file_of[image_id], hw), hw
        image, hw = rows[image_id]
        try:
            box = _read_box(cells, hw)
            if not (code := cells.get("labelname", "")):
                raise InvalidEntryError("no_class", "no LabelName")
        except InvalidEntryError as problem:
            builder.skip_object(problem, image, number, raw)
            continue
        if code not in names:
            codes[code] = None
        label = builder.label(names.get(code, code))
        builder.add_object(image, label, number, box=box, iscrowd=cells.get("isgroupof", "") in ("1", "1.0"))
    _report(builder, without_file, codes)
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    return any(set(_COLUMNS) <= columns for columns in file.csv_columns)


def _sample_image_names(annotations: Path) -> Iterator[str]:
    for _, cells, _ in islice(_read_lines(annotations), SAMPLED):
        yield from (f"{cells.get('imageid', '')}{suffix}" for suffix in (".jpg", ".png", ".jpeg"))


READER = Reader("Open Images CSV", (".csv",), _recognize, parse, _sample_image_names)


def _report(builder: UnvalidatedSplitBuilder, without_file: set[str], codes: Mapping[str, None]) -> None:
    """Warn of images without a file and labels without a name. Raises DataError if no image has a file."""
    annotations, images = builder.annotations, builder.images
    if without_file and not builder.names:
        raise DataError(f"{annotations} describes {counted(len(without_file), 'image')}, none of which is in {images}")
    if without_file:
        warn(f"{annotations}: ignored {counted(len(without_file), 'image')} that {images} does not hold")
    if codes:
        warn(
            f"{annotations}: no names for {counted(len(codes), 'label')} such as {next(iter(codes))}; put "
            f"class-descriptions-boxable.csv into {annotations.parent}"
        )


def _read_lines(annotations: Path) -> Iterator[tuple[int, dict[str, str], str]]:
    """Yield for each line that is not empty its number, its cells by lower-case column name, and its text."""
    with open_csv(annotations) as file:
        rows = csv.reader(file)
        columns = [name.strip().lower() for name in next(rows, [])]
        if missing := [name for name in _COLUMNS if name not in columns]:
            raise DataError(f"{annotations} is not a file of Open Images: its header line lacks {', '.join(missing)}")
        for row in rows:
            if any(cell.strip() for cell in row):
                cells = dict(zip(columns, (cell.strip() for cell in row), strict=False))
                yield rows.line_num, cells, ",".join(row)


def _read_box(cells: Mapping[str, str], hw: tuple[int, int]) -> list[float]:
    """Return the box xyxy in pixels. Raises InvalidEntryError."""
    values = [parse_number(key, cells.get(key, "")) for key in _EDGES]
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("non_finite_box", str(values))
    if max(map(abs, values)) > 2:
        raise InvalidEntryError(
            "malformed_object", f"({', '.join(f'{v:g}' for v in values)}) are not fractions, 0 to 1"
        )
    return [value * side for value, side in zip(values, (hw[1], hw[0]) * 2, strict=True)]


def _class_names(annotations: Path) -> dict[str, str]:
    """Return {label name: class name} from the files with class descriptions."""
    names: dict[str, str] = {}
    above = annotations.parent.parent
    for folder in (above, above / "metadata", annotations.parent):
        for path in sorted((*folder.glob("*class-descriptions*.csv"), *folder.glob("classes.csv"))):
            with open_csv(path) as file:
                names |= {
                    row[0].strip(): row[1].strip() for row in csv.reader(file) if len(row) >= 2 and row[1].strip()
                }
    return names
