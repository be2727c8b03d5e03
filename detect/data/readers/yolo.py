"""YOLO's text files: one an image, one line an object, ``class x y w h`` or ``class x1 y1 x2 y2 x3 y3 ...``.

Format: https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/. All is in
parts of the image's width and height; x and y are the middle of a box. An image without a file, or with an empty
one, has no objects. Classes are numbers from 0; their names stand elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from detect.data.quality.problems import Place
from detect.data.readers.folders import files_below, images_below, stem, text_of
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError, MediaError
from detect.media.images import image_hw

NO_LABELS = ("classes.txt", "labels.txt", "notes.txt", "readme.txt", "train.txt", "val.txt", "valid.txt", "test.txt")


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the text files in the folder ``annotations`` say of the images in ``images`` of the same names.

    classes: the names of the numbers. DataError without them, and where there is no text file.
    """
    if not classes:
        raise DataError(f"the classes of {annotations} are numbers; name them under 'classes' in the YAML file")
    builder = UnvalidatedSplitBuilder(images, annotations, "line")
    names = images_below(images)
    stems = set(map(stem, names))
    files = {
        stem(name): name
        for name in files_below(annotations, (".txt",))
        if Path(name).name.lower() not in NO_LABELS or stem(name) in stems
    }
    if not files:
        raise DataError(f"no label file (.txt) in {annotations}")
    file_of: dict[str, str | None] = {}
    for name in names:
        if stem(name) in file_of:  # whose objects are another image's, as far as the name tells
            builder.skip("not_annotated", Place(name, "", "another image has its name but for the suffix"))
            continue
        file = file_of[stem(name)] = files.pop(stem(name), None)
        try:
            hw = image_hw(images / name)
        except MediaError as error:
            where = Place(name, "", str(error))
            image = builder.add_image(name, source=file or "")  # whose lines cannot be placed
            builder.skip("unreadable_image", where, image, text_of(annotations / file) if file else "")
            continue
        image = builder.add_image(name, hw, source=file or "")
        if file is not None:
            _add_lines(builder, image, annotations / file, file, hw, len(classes))
    for file in files.values():  # those that are left
        where = Place(file, "", "no image of this name")
        builder.skip("missing_image", where, raw=text_of(annotations / file))
    return builder.finish(classes)


def _add_lines(builder: UnvalidatedSplitBuilder, image: int, path: Path, file: str, hw: tuple[int, int], classes: int) -> None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        builder.skip("broken_annotations", Place(file, "", str(error)), image, text_of(path))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label, box, polygon = _object(line, hw, classes)
        except InvalidEntryError as problem:
            builder.skip(problem.kind, Place(file, f"line {number}", str(problem)), image, line)
            continue
        builder.add_object(image, label, number, box=box, mask=None if polygon is None else [polygon])


def _object(line: str, hw: tuple[int, int], classes: int) -> tuple[int, list[float] | None, list[float] | None]:
    """The label from 1, and a box xyxy or a polygon, in pixels."""
    words = line.split()
    try:
        number, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise InvalidEntryError("malformed", f"{line[:60]!r} is not a row of numbers") from None
    if not number.is_integer() or not 0 <= number < classes:
        raise InvalidEntryError("unknown_class", f"{words[0]}, there are 0 to {classes - 1}")
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("not_finite", line[:60])
    height, width = hw
    if len(values) == 4:
        x, y, w, h = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return int(number) + 1, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], None
    if len(values) < 6 or len(values) % 2:
        kind = "few_points" if len(values) == 2 else "malformed"
        raise InvalidEntryError(kind, f"{len(values)} numbers after the class; a box has 4, a polygon at least 6, in pairs")
    return int(number) + 1, None, [v * (height if i % 2 else width) for i, v in enumerate(values)]
