"""Reader of YOLO: one text file per image with one object per line, ``class x y w h`` or ``class x1 y1 x2 y2 ...``.

Format: https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/. Coordinates
are fractions of the image's width and height; x and y are the center of a box. An image without a text file, or with
an empty one, has no objects. Classes are numbers from 0; their names are in other files (``yolo_data_yaml``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from detect.data.file_listing import files_below, images_below, read_text_or_empty, without_suffix
from detect.data.image_names import match_names
from detect.data.readers.parsing import is_no_object, is_number, match_stems
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.readers.yolo_data_yaml import declared_splits, find_classes, read_task
from detect.data.readers.yolo_lines import LineFormat, find_line_format, parse_line
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError, MediaError
from detect.media.images import image_hw
from detect.text import counted

_SAMPLED_FILES = 2000
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
    for file, name in match_stems(files.values(), names).items():
        files.setdefault(without_suffix(name), files.pop(without_suffix(file)))
    renamed = _rename(files, names)
    seen = set()
    form = find_line_format(_sampled_lines(annotations, sorted(files.values())), *read_task(annotations))
    numbers: Counter[int] = Counter()
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
        if name in renamed:
            builder.note("renamed_image", image, value=f"the labels of {name}")
        if file:
            numbers.update(_add_objects(builder, image, file, hw, form, classes))
    for file in files.values():
        builder.skip_file("missing_image", file, "no image has this name")
    _check_counted_from_0(annotations, numbers, len(classes))
    return builder.finish(classes)


def _recognize(file: AnnotationFile) -> bool:
    """Return whether the first non-empty line is a whole number followed by at least four fractions.

    Raises ValueError for lines in pixels, lines with class names, and lines with commas.
    """
    text = next((line for line in file.head_text.splitlines() if line.strip()), "")
    _refuse_commas(text)
    name, words = _split_name(text)
    if len(words) < 5:
        return False
    try:
        values = [float(word) for word in words[1:]]
    except ValueError:
        return False
    fractions = all(-1 < value < 2 for value in values[:4])
    if not words[0].lstrip("-").isdecimal():
        if len(words) == 5 and not is_number(words[0]) and (fractions or min(values) >= 0):
            pixels = "" if fractions else ", and its coordinates are pixels instead of fractions of the image size"
            raise ValueError(
                f"its lines begin with names instead of numbers of classes, such as {name[:60]!r}{pixels}"
            )
        return is_number(words[0]) and float(words[0]).is_integer() and fractions
    if not fractions and len(words) == 5 and min(values) >= 0:
        raise ValueError("its coordinates are pixels; YOLO's are fractions of the image size, 0 to 1")
    return fractions


def _split_name(text: str) -> tuple[str, list[str]]:
    """Return the class and the words of a line. A name of several words, before four numbers, counts as one word."""
    words = text.split()
    if len(words) > 5 and not any(map(is_number, words[:-4])) and all(map(is_number, words[-4:])):
        words = [" ".join(words[:-4]), *words[-4:]]
    return (words[0] if words else ""), words


def _refuse_commas(text: str) -> None:
    """Raise ValueError for a box whose numbers are separated by commas or semicolons, or have decimal commas."""
    if "," not in text and ";" not in text:
        return
    for words in (re.split(r"[,;\s]+", text.strip()), text.replace(",", ".").split()):
        is_row = len(words) == 5 and words[0].isdecimal() and all(map(is_number, words))
        if is_row and all(0 <= float(word) <= 1 for word in words[1:]):
            raise ValueError("its numbers have commas; YOLO's are separated by spaces and have decimal points")


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


def _rename(files: dict[str, str], names: Sequence[str]) -> set[str]:
    """Give label files the names of the images that they mean, where the two differ in encoding or the like.

    files: label files by their names without suffix; changed. Returns the images.
    """
    stems = set(map(without_suffix, names))
    without_label = [name for name in names if without_suffix(name) not in files]
    with_label = set(names).difference(without_label)
    found = match_names([key for key in files if key not in stems], without_label, with_label)
    found = {key: name for key, name in found.items() if name not in with_label}
    for key, name in found.items():
        files[without_suffix(name)] = files.pop(key)
    return set(found.values())


def _read_lines(annotations: Path, file: str) -> list[str]:
    """Return the lines of a label file. Raises OSError or UnicodeDecodeError."""
    return (annotations / file).read_text(encoding="utf-8-sig").splitlines()


def _sampled_lines(annotations: Path, files: Sequence[str]) -> Iterator[str]:
    """Yield lines of evenly spaced label files, from which the format of all is found."""
    for file in files[:: max(len(files) // _SAMPLED_FILES, 1)]:
        yield from (line for line in read_text_or_empty(annotations / file).splitlines() if line.strip())


def _add_objects(
    builder: UnvalidatedSplitBuilder,
    image: int,
    file: str,
    hw: tuple[int, int],
    form: LineFormat,
    classes: Sequence[str],
) -> Counter[int]:
    """Add the objects of one label file, and return how often each class number occurs."""
    numbers: Counter[int] = Counter()
    try:
        lines = _read_lines(builder.annotations, file)
    except (OSError, UnicodeDecodeError) as error:
        builder.skip_file("unreadable_annotations", file, str(error), image)
        return numbers
    for position, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = parse_line(text, hw, len(classes), form)
        except InvalidEntryError as problem:
            if problem.kind == "unknown_class" and text.split()[0].isdecimal():
                numbers[int(text.split()[0])] += 1
            builder.skip_object(problem, image, position, text)
            continue
        numbers[line.number] += 1
        if line.polygon is None and is_no_object(classes[line.number], line.box):
            builder.note("no_object", image, position, classes[line.number])
            continue
        if line.note:
            builder.note(line.note, image, position)
        mask = None if line.polygon is None else [line.polygon]
        builder.add_object(image, line.number + 1, position, box=line.box, mask=mask)
    return numbers


def _check_counted_from_0(annotations: Path, numbers: Mapping[int, int], num_classes: int) -> None:
    """Raise DataError if the class numbers are 1 to K, which would shift all names by one."""
    if numbers and min(numbers) > 0 and max(numbers) == num_classes:
        raise DataError(
            f"{annotations}: class numbers go from {min(numbers)} to {max(numbers)} and are never 0, but those of the "
            f"{counted(num_classes, 'name')} go from 0 to {num_classes - 1}; if the numbers count from 1, insert a"
            " name for 0 before the others in data.yaml, such as 'unused'"
        )
