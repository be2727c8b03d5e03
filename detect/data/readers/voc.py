"""Pascal VOC: one XML file an image, with boxes and without masks.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Corners are the first and the last
pixel of an object, counted from 1: one of xmin 1 and xmax 10 is 10 pixels wide, here from 0 to 10. Programs that count
from 0 write such files too, and nobody can tell; they are off by a pixel here. Objects that are marked difficult are
neither trained on nor missed in evaluation, as crowds are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse as parse_xml

from detect.data.quality.problems import Place
from detect.data.readers.folders import files_below, images_below, stem, text_of
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the XML files in the folder ``annotations`` say of the images in ``images``.

    A file is about the image of the same name but for the suffix, else about the one that it names. DataError where
    there is no XML file.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "object")
    files = files_below(annotations, (".xml",))
    if not files:
        raise DataError(f"no XML file in {annotations}")
    pictures = images_below(images)
    by_stem = {stem(name): name for name in reversed(pictures)}
    annotated = set()
    for file in files:
        name = by_stem.get(stem(file), "")
        annotated.add(name)  # also where the file cannot be read, which is said once
        try:
            root = parse_xml(annotations / file).getroot()
        except (
            ParseError,
            DefusedXmlException,
            OSError,
            ValueError,
            LookupError,
        ) as error:  # LookupError: an encoding
            builder.skip("broken_annotations", Place(file, "", str(error)), raw=text_of(annotations / file))
            continue
        name = name or _named(root, file)
        annotated.add(name)
        image = builder.add_image(name, _size(root), source=file)
        for number, entry in enumerate(root.findall("object"), start=1):
            _add(builder, image, number, entry, file)
    for name in pictures:
        if name not in annotated:
            builder.skip("not_annotated", Place(name, "", ""))
    return builder.finish()


def _add(builder: UnvalidatedSplitBuilder, image: int, number: int, entry: Element, file: str) -> None:
    try:
        name = _text(entry, "name")
        if not name:
            raise InvalidEntryError("malformed", "it has no name")
        box = _box(entry)
    except InvalidEntryError as problem:
        raw = tostring(entry, "unicode").strip()
        builder.skip(problem.kind, Place(file, f"object {number}", str(problem)), image, raw)
        return
    builder.add_object(image, builder.label(name), number, box=box, iscrowd=_text(entry, "difficult") == "1")


def _box(entry: Element) -> tuple[float, float, float, float]:
    """xyxy in pixels from 0; Unusable where it is none."""
    corners = entry.find("bndbox")
    if corners is None:
        raise InvalidEntryError("malformed", "it has no bndbox")
    values = []
    for key in _CORNERS:
        text = _text(corners, key)
        try:
            values.append(float(text))
        except ValueError:
            raise InvalidEntryError("malformed", f"{key} is {text[:60]!r}, it should be a number") from None
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("not_finite", str(values))
    left, upper, right, lower = values
    if left == right or upper == lower:  # a slip of the mouse, though read to the letter it is a pixel wide
        raise InvalidEntryError("no_area", f"({left:g}, {upper:g}, {right:g}, {lower:g})")
    # The lower one is the first pixel, also of corners that are swapped; those who count from 0 write 0.
    if left > right:
        right = _before(right)
    else:
        left = _before(left)
    if upper > lower:
        lower = _before(lower)
    else:
        upper = _before(upper)
    return left, upper, right, lower


def _before(pixel: float) -> float:
    """The edge before a pixel that is counted from 1."""
    return 0.0 if 0 <= pixel < 1 else pixel - 1


def _size(root: Element) -> tuple[int, int]:
    """(height, width), (0, 0) where the file does not say, as some programs write it."""
    size = root.find("size")
    if size is None:
        return 0, 0
    height, width = (_text(size, key) for key in ("height", "width"))
    plain = height.isdecimal() and width.isdecimal() and max(len(height), len(width)) < 9
    return (int(height), int(width)) if plain and int(height) and int(width) else (0, 0)


def _named(root: Element, file: str) -> str:
    """The image that the file names, in the same folder; programs write where it lay on their machine too."""
    written = PureWindowsPath(_text(root, "filename")).name  # splits at both kinds of slash
    return (PurePosixPath(file).parent / (written or PurePosixPath(file).stem)).as_posix()


def _text(element: Element, key: str) -> str:
    return (element.findtext(key) or "").strip()
