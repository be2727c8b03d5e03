"""Reader of YOLO: one text file per image with one object per line, ``class x y w h`` or ``class x1 y1 x2 y2 ...``.

Format: https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/. Coordinates
are fractions of the image's width and height; x and y are the center of a box. An image without a text file, or with
an empty one, has no objects. Classes are numbers from 0; their names are in other files (``yolo_data_yaml``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from detect.data.file_listing import files_below, images_below, read_text_or_empty, without_suffix
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.readers.yolo_data_yaml import declared_splits, find_classes
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError, MediaError
from detect.media.images import image_hw

# Text files that are no labels, unless an image has the same name.
NOT_LABELS = ("classes.txt", "labels.txt", "notes.txt", "readme.txt", "train.txt", "val.txt", "valid.txt", "test.txt")


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the text files in the folder ``annotations`` and its subfolders, see ``Reader.parse``.

    classes: names of the class numbers 0, 1, ... Raises DataError without them.
    """
    if not classes:
        raise DataError(f"the classes in {annotations} are numbers; list their names under 'classes' in the YAML file")
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    names = images_below(images)
    files = _label_files(annotations, names)
    if not files:
        raise DataError(f"no label file (.txt) in {annotations}")
    seen = set()
    for name in names:
        key = without_suffix(name)
        if key in seen:  # the label file belongs to the first image of this name
            builder.skip("unannotated_image", Location(name, "", "another image differs only in the suffix"))
            continue
        seen.add(key)
        file = files.pop(key, "")
        try:
            hw = image_hw(images / name)
        except MediaError as error:  # without a size the coordinates cannot be converted to pixels
            raw = read_text_or_empty(annotations / file) if file else ""
            image = builder.add_image(name, source=file)
            builder.skip("unreadable_image", Location(name, "", str(error)), image, raw)
            continue
        image = builder.add_image(name, hw, source=file)
        if file:
            _add_objects(builder, image, file, hw, len(classes))
    for file in files.values():
        builder.skip_file("missing_image", file, "no image has this name")
    return builder.finish(classes)


def _recognize(file: AnnotationFile) -> bool:
    """Return whether the first non-empty line is a whole number followed by at least four fractions."""
    lines = [line for line in file.head_text.splitlines() if line.strip()]
    try:
        values = [float(word) for word in lines[0].split()] if lines else []
    except ValueError:
        return False
    return len(values) >= 5 and values[0].is_integer() and all(-1 < v < 2 for v in values[1:])


READER = Reader(
    "YOLO text files",
    (".txt",),
    _recognize,
    parse,
    needs_matching_image=True,
    find_classes=find_classes,
    declared_splits=declared_splits,
    splits_source="its YAML file or lists",
)


def _label_files(annotations: Path, image_names: Sequence[str]) -> dict[str, str]:
    """Return the label files by their names without suffix."""
    images = set(map(without_suffix, image_names))
    files = {without_suffix(name): name for name in files_below(annotations, (".txt",))}
    return {key: name for key, name in files.items() if Path(name).name.lower() not in NOT_LABELS or key in images}


def _add_objects(
    builder: UnvalidatedSplitBuilder, image: int, file: str, hw: tuple[int, int], num_classes: int
) -> None:
    """Add the objects of one label file."""
    try:
        lines = (builder.annotations / file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        builder.skip_file("unreadable_annotations", file, str(error), image)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label, box, polygon = _parse_line(line, hw, num_classes)
        except InvalidEntryError as problem:
            builder.skip_object(problem, image, number, line)
            continue
        builder.add_object(image, label, number, box=box, mask=None if polygon is None else [polygon])


def _parse_line(
    line: str, hw: tuple[int, int], num_classes: int
) -> tuple[int, list[float] | None, list[float] | None]:
    """Return the label, 1..K, and either a box xyxy or a polygon, in pixels."""
    words = line.split()
    try:
        number, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InvalidEntryError("malformed_object", f"{line[:60]!r} is not a row of numbers") from None
    if not number.is_integer() or not 0 <= number < num_classes:
        raise InvalidEntryError("unknown_class", f"{words[0]}, classes are 0 to {num_classes - 1}")
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("non_finite_box", line[:60])
    height, width = hw
    if len(values) == 4:
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return int(number) + 1, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], None
    if len(values) < 6 or len(values) % 2:
        kind = "too_few_points" if len(values) == 2 else "malformed_object"
        expected = "a box has 4, a polygon an even number of at least 6"
        raise InvalidEntryError(kind, f"{len(values)} numbers after the class; {expected}")
    return int(number) + 1, None, [v * (height if i % 2 else width) for i, v in enumerate(values)]
