"""Reader of Pascal VOC: one XML file per image, with boxes and without masks.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. Coordinates are the first and the last
pixel of an object, counted from 1: xmin 1 and xmax 10 is 10 pixels wide and becomes 0 to 10 here. Some programs write
such files counting from 0. That cannot be detected; their boxes are shifted by one pixel. Objects marked ``difficult``
are read as crowds: they are not trained on, and evaluation ignores them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree.ElementTree import Element, tostring

from detect.data.file_listing import FileListing, files_below, without_suffix
from detect.data.readers.parsing import (
    COORDINATES,
    is_no_object,
    load_xml,
    parse_number,
    read_annotation_files,
    whole_size,
)
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.splits import read_name_list
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.progress import warn
from detect.text import counted, first_few

_SPLIT_LISTS = {"train.txt": "train", "trainval.txt": "train", "val.txt": "val", "test.txt": "test"}
_CLASS_FLAG = re.compile(r"\s+-?[01]$")  # in lists of one class: whether the image shows that class


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the XML files in the folder ``annotations`` and its subfolders, see ``Reader.parse``.

    A file belongs to the image with the same name except for the suffix, else to the image that it names.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "object")
    files = files_below(annotations, (".xml",))
    for file, root, name in read_annotation_files(builder, files, load_xml, f"no XML file in {annotations}"):
        image = builder.add_image(name or _written_image_name(root, file), _read_size(root), source=file)
        for number, entry in enumerate(root.findall("object"), start=1):
            _add_object(builder, image, number, entry)
    return builder.finish()


def _recognize(file: AnnotationFile) -> bool:
    polygons_only = b"<polygon>" in file.head and b"<bndbox>" not in file.head  # of the LabelMe web page
    return bool(re.search(rb"<annotation[\s>/]", file.head)) and not polygons_only


def _declared_splits(names: Sequence[str], images: PurePosixPath, listing: FileListing) -> dict[str, set[str]]:
    """Return the splits of ImageSets/Main/{train,trainval,val,test}.txt, lists of image names without suffix.

    ImageSets/Layout and ImageSets/Segmentation list subsets and count only without ImageSets/Main.
    """
    texts = [path for path in listing.files.get(".txt", ()) if "ImageSets" in path.parts]
    texts = [path for path in texts if path.parent.name == "Main"] or texts
    lists = {path.name: path for path in texts if path.name in _SPLIT_LISTS}
    image_of = {
        key: name for name in names for key in (PurePosixPath(without_suffix(name)).name, without_suffix(name))
    }
    members: dict[str, set[str]] = {}
    unknown_names = []
    for file, path in sorted(lists.items()):
        if file == "trainval.txt" and "train.txt" in lists:
            continue
        split = members.setdefault(_SPLIT_LISTS[file], set())
        for line in filter(None, map(str.strip, read_name_list(listing.folder / path))):
            if name := image_of.get(line) or image_of.get(_CLASS_FLAG.sub("", line)):
                split.add(name)
            else:
                unknown_names.append(line)
    if unknown_names:
        has = "has" if len(unknown_names) == 1 else "have"
        listed = counted(len(unknown_names), "image")
        warn(f"{listing.folder}: {listed} listed in ImageSets {has} no annotations: {first_few(unknown_names)}")
    if "train" in members:  # trainval.txt repeats the images of val.txt
        members["train"] -= members.get("val", set()) | members.get("test", set())
    return members


READER = Reader(
    "Pascal VOC XML",
    (".xml",),
    _recognize,
    parse,
    declared_splits=_declared_splits,
    splits_source="the lists in ImageSets",
)


def _add_object(builder: UnvalidatedSplitBuilder, image: int, number: int, entry: Element) -> None:
    try:
        name = _text(entry, "name")
        if not name:
            raise InvalidEntryError("malformed_object", "no class name")
        written = _written_box(entry)
        if is_no_object(name, written):
            builder.note("no_object", image, number, name)
            return
        box = _pixel_box(written)
    except InvalidEntryError as problem:
        builder.skip_object(problem, image, number, tostring(entry, "unicode").strip())
        return
    builder.add_object(image, builder.label(name), number, box=box, iscrowd=_text(entry, "difficult") == "1")


def _written_box(entry: Element) -> list[float]:
    """Return xmin, ymin, xmax and ymax as written. Raises InvalidEntryError when one is missing or not a number."""
    bndbox = entry.find("bndbox")
    if bndbox is None:
        rotated = entry.find("robndbox") is not None
        why = "a rotated box (robndbox), which is not read; export bndbox, or CVAT XML" if rotated else "no bndbox"
        raise InvalidEntryError("malformed_object", why)
    return [parse_number(key, _text(bndbox, key)) for key in COORDINATES]


def _pixel_box(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the box xyxy in pixels counted from 0. Raises InvalidEntryError for a box without area.

    values: first and last pixel of the object, counted from 1: xmin, ymin, xmax, ymax.
    """
    if not all(map(math.isfinite, values)):
        raise InvalidEntryError("non_finite_box", str(values))
    left, upper, right, lower = values
    if left == right or upper == lower:  # by the letter one pixel wide, but in practice an accidental click
        raise InvalidEntryError("zero_area_box", f"({left:g}, {upper:g}, {right:g}, {lower:g})")
    # The smaller coordinate is the first pixel, also when the two are swapped.
    (left, right), (upper, lower) = _pixel_edges(left, right), _pixel_edges(upper, lower)
    return left, upper, right, lower


def _pixel_edges(one: float, other: float) -> tuple[float, float]:
    """Return the edges of the span between two pixels, counted from 0, in the order of the arguments.

    The arguments count pixels from 1; 0 also means the first pixel.
    """
    first = min(one, other)
    edge = 0.0 if 0 <= first < 1 else first - 1
    return (one, edge) if one > other else (edge, other)


def _read_size(root: Element) -> tuple[int, int]:
    """Return (height, width) of the image in pixels, (0, 0) when missing or invalid."""
    size = root.find("size")
    return (0, 0) if size is None else whole_size(_text(size, "height"), _text(size, "width"))


def _written_image_name(root: Element, file: str) -> str:
    """Return the image that the file names, in the folder of the file; a written path may be another machine's."""
    written = PureWindowsPath(_text(root, "filename")).name  # splits at both kinds of slash
    return (PurePosixPath(file).parent / (written or PurePosixPath(file).stem)).as_posix()


def _text(element: Element, key: str) -> str:
    return (element.findtext(key) or "").strip()
