"""Reader of boxes in a CSV file with one object per line, as in TensorFlow's object detection tutorials.

    filename,width,height,class,xmin,ymin,xmax,ymax
    a.jpg,640,480,cat,10,20,110,220

``csv_layout`` lists the names that columns may have, and the programs that write no header line. Columns may have any
order; unknown columns are ignored. The delimiter is a comma, a semicolon, a tab or a vertical bar; beside the latter
three, numbers may have a decimal comma. Coordinates are pixels counted from 0, and the right and lower edges are
exclusive: xmin 0 and xmax 10 is 10 pixels wide. Pascal VOC counts from 1, and converters from its XML to CSV often
keep its numbers. That cannot be detected; such boxes are shifted by one pixel. If no coordinate exceeds 1, all are
fractions of the image size. A line with a file name but neither class nor coordinates is an image without objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from detect.data.file_listing import FileListing, is_file
from detect.data.image_names import match_names, match_to_files
from detect.data.readers.csv_layout import looks_like_boxes, split_of
from detect.data.readers.csv_lines import Line, read_lines
from detect.data.readers.parsing import SAMPLED, image_name, size_on_disk
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError

_DEFAULT_CLASS = "object"


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a CSV file, see ``Reader.parse``. Images keep the order in which the file names them.

    An image whose lines state different sizes is skipped like an image of the wrong size. Without a column of the
    class, all objects have the only class in ``classes``, or "object".
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    lines_of: dict[str, list[Line]] = {}  # by image path as written
    largest = 0.0
    layout, lines = read_lines(annotations)
    only_class = classes[0] if classes and len(classes) == 1 else _DEFAULT_CLASS
    for line in lines:
        if layout.label is None and line.box:
            line.label = only_class
        if line.path:
            lines_of.setdefault(line.path, []).append(line)
        else:
            location = Location(annotations.name, f"line {line.number}", str(line.problem))
            builder.skip("malformed_object", location, raw=line.raw)
        largest = max(largest, *map(abs, line.box or (0,)))
    if layout.order:
        builder.note("no_header", value=layout.order)
    if layout.label is None:
        builder.note("no_class_column", value=only_class)
    if largest > 1:
        _mark_fractions(line for lines in lines_of.values() for line in lines)
    groups = _group_by_image(lines_of, images, annotations)
    sizes = None
    if 0 < largest <= 1:
        builder.note("fractional_boxes", value=f"the largest coordinate is {largest:g}")
        sizes = _Sizes(images, groups)
    for name, paths in groups.items():
        _add_image(builder, name, [line for path in paths for line in lines_of[path]], sizes)
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    return looks_like_boxes(file.first_line)


def _sample_image_names(annotations: Path) -> Iterator[str]:
    for line in islice(read_lines(annotations)[1], SAMPLED):
        yield line.path


def _declared_splits(names: Sequence[str], images: PurePosixPath, listing: FileListing) -> dict[str, set[str]]:
    """Return the images of each split that a column states. Lines without a split, beside others, are for training."""
    word_of: dict[str, str] = {}  # by image path as written
    for file in (*listing.files.get(".csv", ()), *listing.files.get(".tsv", ())):
        if _recognize(AnnotationFile(listing.folder / file)):
            word_of |= {line.path: line.split for line in read_lines(listing.folder / file)[1] if line.path}
    split_by_path = {path: split_of(word) for path, word in word_of.items()}
    if None in split_by_path.values() or not any(split_by_path.values()):
        return {}
    written = {path: image_name(listing.folder / images, path) for path in split_by_path}
    matched = match_names(set(written.values()).difference(names), set(names).difference(written.values()))
    members: dict[str, set[str]] = {}
    for path, split in split_by_path.items():
        members.setdefault(split or "train", set()).add(matched.get(written[path], written[path]))
    return {split: found.intersection(names) for split, found in members.items()}


READER = Reader(
    "CSV boxes",
    (".csv", ".tsv"),
    _recognize,
    parse,
    _sample_image_names,
    declared_splits=_declared_splits,
    splits_source="a column of the CSV file",
)


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


def _mark_fractions(lines: Iterable[Line]) -> None:
    """Mark boxes of less than a pixel beside the origin as invalid: in a file of pixels they are fractions."""
    for line in lines:
        if line.box and max(map(abs, line.box)) <= 1 and not all(number.is_integer() for number in line.box):
            problem = f"{line.box} are fractions, but coordinates of other lines are pixels"
            line.problem = InvalidEntryError("malformed_object", problem)


class _Sizes:
    """Sizes of images that a CSV file does not state, read from the files."""

    def __init__(self, images: Path, names: Collection[str]) -> None:
        self._images = images
        self._matched = match_to_files(images, names, [name for name in names if not is_file(images / name)])

    def of(self, name: str) -> tuple[int, int]:
        """Return (height, width) of an image, (0, 0) if it cannot be read."""
        return size_on_disk(self._images / self._matched.get(name, name))


def _add_image(builder: UnvalidatedSplitBuilder, name: str, lines: Sequence[Line], sizes: _Sizes | None) -> None:
    """Add an image with the objects of its ``lines``.

    sizes: sizes of the images if coordinates are fractions of them, else None.
    """
    first_line_of: dict[tuple[int, int], int] = {}  # by size
    for line in lines:
        if line.image_hw[0]:
            first_line_of.setdefault(line.image_hw, line.number)
    hw = next(iter(first_line_of), (0, 0))
    image = builder.add_image(name, hw)
    if len(first_line_of) > 1:
        stated = ", ".join(f"{width}x{height} in line {number}" for (height, width), number in first_line_of.items())
        builder.skip("image_size_mismatch", Location(name, "", f"annotated as {stated}"), image)
    height, width = (1, 1) if sizes is None else hw if hw[0] else sizes.of(name)
    for line in lines:
        if line.problem:
            builder.skip_object(line.problem, image, line.number, line.raw)
        elif line.says_no_object:
            builder.note("no_object", image, line.number, line.label)
        elif line.box and height:
            left, upper, right, lower = line.box
            box = (left * width, upper * height, right * width, lower * height)
            builder.add_object(image, builder.label(line.label), line.number, box=box)
