"""Reader of CVAT's XML 1.1, "for images" and "for video": boxes, polygons, ellipses and masks (``cvat_shapes``).

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/. One file describes many images:

- for images: ``<image name width height subset>`` with shapes; an image without shapes has no objects,
- for video: ``<track label>`` with one shape for each ``frame`` in which the object is visible. The frames must exist
  as images with the names that CVAT gives them, ``frame_000000.png`` and so on, beginning with the first one.

The classes are the labels of the file in their order, without those for points, lines, skeletons and tags. Polygons
and masks of one image with the same label and ``group_id`` are one object, as in the COCO files that CVAT exports.
Boxes are masks only in a dataset that also has other shapes. The attribute ``subset`` of a project's images is the
split.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import islice
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, tostring

import numpy as np

from detect.data.file_listing import FileListing, images_below, is_file, without_suffix
from detect.data.image_names import comparable
from detect.data.readers.cvat_shapes import SHAPES, WITHOUT_AREA, shape_geometry
from detect.data.readers.geometry import Geometry, box_around
from detect.data.readers.parsing import SAMPLED, image_name, load_xml, size_on_disk, whole_size
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.splits import split_from_path
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError
from detect.progress import warn
from detect.structures import masks
from detect.structures.masks import Polygons, Rle
from detect.text import counted

_IMAGE_TAG = re.compile(r"<image\s[^>]*>")
_ATTRIBUTE = re.compile(r'\b(name|subset)="([^"]*)"')
_FRAME_NAME = re.compile(r"frame_(\d{6,})")
_TYPES_WITHOUT_AREA = (*WITHOUT_AREA, "polylines")


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a CVAT file, see ``Reader.parse``; ``classes`` is ignored."""
    try:
        root = load_xml(annotations)
    except DataError as error:
        raise DataError(f"{annotations} is not XML: {error}") from None
    if root.tag != "annotations":
        raise DataError(f"{annotations} is not a CVAT file: its root is <{root.tag[:60]}>, not <annotations>")
    builder = UnvalidatedSplitBuilder(images, annotations, "shape")
    labels = _labels(root)
    for name in labels:  # so that they are the first ones, also those without objects
        builder.label(name)
    entries = root.findall("image")
    for position, entry in enumerate(entries):
        _add_image(builder, entry, position)
    if not entries and root.find("track") is not None:
        _add_frames(builder, root)
    elif not entries:
        raise DataError(f"{annotations} has neither images nor tracks")
    return replace(builder.finish(), classes_listed=bool(labels))


def _recognize(file: AnnotationFile) -> bool:
    return bool(re.search(rb"<annotations[\s>]", file.head)) and any(
        tag in file.head for tag in (b"<meta>", b"<version>", b"<image ", b"<track ")
    )


def _sample_image_names(annotations: Path) -> Iterator[str]:
    """Yield image names as written, and with their subset as folder, as CVAT exports the images of projects."""
    text = annotations.read_text(encoding="utf-8-sig", errors="replace")
    for tag in islice(_IMAGE_TAG.finditer(text), SAMPLED // 2):
        attributes = {key: html.unescape(value) for key, value in _ATTRIBUTE.findall(tag[0])}
        if subset := attributes.get("subset"):
            yield f"{subset}/{attributes.get('name', '')}"
        yield attributes.get("name", "")
    if "<track" in text:
        yield from (f"frame_{number:06d}.{suffix}" for number in range(50) for suffix in ("png", "jpg"))


def _declared_splits(names: Sequence[str], images: PurePosixPath, listing: FileListing) -> dict[str, set[str]]:
    """Return the splits that the attribute ``subset`` states, if it states one for every image."""
    split_of: dict[str, str | None] = {}
    for path in listing.files.get(".xml", ()):
        if not _recognize(AnnotationFile(listing.folder / path)):
            continue
        for entry in load_xml(listing.folder / path).iter("image"):
            subset, written = entry.get("subset", ""), entry.get("name", "")
            split = split_from_path(PurePosixPath(subset))
            for key in {comparable(f"{subset}/{written}"), comparable(written)}:
                split_of[key] = split if split_of.get(key, split) == split else None
    members: dict[str, set[str]] = {}
    for name in names:
        split = split_of.get(comparable(name)) or split_of.get(comparable(PurePosixPath(name).name))
        if split is None:
            return {}
        members.setdefault(split, set()).add(name)
    return members


READER = Reader(
    "CVAT XML",
    (".xml",),
    _recognize,
    parse,
    _sample_image_names,
    declared_splits=_declared_splits,
    splits_source="the subsets in CVAT's file",
)


def _labels(root: Element) -> list[str]:
    """Return the labels that the file defines for shapes with an area."""
    names: dict[str, None] = {}
    for label in root.iterfind("./meta//labels/label"):
        kind = (label.findtext("type") or "").strip()
        name = (label.findtext("name") or "").strip()
        if name and kind not in _TYPES_WITHOUT_AREA and label.find("parent") is None:
            names[name] = None
    return list(names)


def _add_image(builder: UnvalidatedSplitBuilder, entry: Element, position: int) -> None:
    written = entry.get("name", "").strip()
    if not written:
        location = Location(builder.annotations.name, f"image {entry.get('id', position)}", "no name")
        builder.skip("malformed_image_entry", location, raw=tostring(entry, "unicode").strip())
        return
    name = image_name(builder.images, written)
    subset = entry.get("subset", "").strip()
    if subset and not is_file(builder.images / name) and is_file(builder.images / subset / name):
        name = f"{subset}/{name}"
    hw = whole_size(entry.get("height", ""), entry.get("width", ""))
    if not hw[0] and entry.find("mask") is not None:  # the size of a mask is that of its image
        hw = size_on_disk(builder.images / name)
    image = builder.add_image(name, hw)
    _add_objects(builder, image, [(child.get("label", ""), child) for child in entry], hw)


def _add_frames(builder: UnvalidatedSplitBuilder, root: Element) -> None:
    """Add the frames of a video that exist as images, with the shapes of all tracks. Raises DataError without any."""
    shapes_of: dict[int, list[tuple[str, Element]]] = {}
    for track in root.iterfind("track"):
        for shape in track:
            number = _whole_number(shape.get("frame"))
            if number is None:
                where = Location(builder.annotations.name, f"track {track.get('id')}", f"frame {shape.get('frame')!r}")
                builder.skip("malformed_object", where, raw=tostring(shape, "unicode").strip())
            elif shape.get("outside") != "1":
                shapes_of.setdefault(number, []).append((track.get("label", ""), shape))
    files = {
        int(match[1]): name
        for name in reversed(images_below(builder.images))
        if (match := _FRAME_NAME.fullmatch(PurePosixPath(without_suffix(name)).name))
    }
    first, last = (_whole_number(root.findtext(f"./meta/*/{key}")) for key in ("start_frame", "stop_frame"))
    if (first or 0) not in files:
        raise DataError(
            f"{builder.annotations} is CVAT's XML for video, but {builder.images} lacks its first frame, "
            f"frame_{first or 0:06d}.png; export 'CVAT for images 1.1' or COCO with images instead"
        )
    if without_file := len(shapes_of.keys() - files.keys()):
        warn(f"{builder.annotations}: ignored {counted(without_file, 'frame')} that {builder.images} lacks")
    size = root.find("./meta//original_size")
    hw = (0, 0) if size is None else whole_size(size.findtext("height") or "", size.findtext("width") or "")
    for number, name in sorted(files.items()):
        if last is None or number <= last:
            _add_objects(builder, builder.add_image(name, hw), shapes_of.get(number, []), hw)


def _whole_number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _add_objects(
    builder: UnvalidatedSplitBuilder, image: int, shapes: Sequence[tuple[str, Element]], hw: tuple[int, int]
) -> None:
    """Add the objects of one image. ``shapes`` are pairs of a label and a shape."""
    parts_of: dict[object, list[tuple[int, str, Geometry]]] = {}
    for number, (written, shape) in enumerate(shapes, start=1):
        label = written.strip()
        try:
            if shape.tag in WITHOUT_AREA:
                builder.note("shape_without_area", image, number, f"{shape.tag} {label}")
                continue
            if shape.tag not in SHAPES:
                raise InvalidEntryError("malformed_object", f"unknown shape <{shape.tag[:60]}>")
            if not label:
                raise InvalidEntryError("no_class", "no label")
            geometry = shape_geometry(shape, hw)
        except InvalidEntryError as problem:
            builder.skip_object(problem, image, number, tostring(shape, "unicode").strip())
            continue
        if geometry.is_rotated:
            builder.note("rotated_box", image, number, f"by {shape.get('rotation')} degrees")
        group = shape.get("group_id", "0")
        is_part = group not in ("", "0") and geometry.mask is not None and not geometry.is_box
        parts_of.setdefault((label, group) if is_part else number, []).append((number, label, geometry))
    for parts in parts_of.values():
        number, label, (box, mask, is_box, _) = parts[0]
        if len(parts) > 1:
            mask = _union(builder, image, parts, hw)
            box = None if isinstance(mask, dict) else box_around([part.box for _, _, part in parts if part.box])
        if box or mask:
            builder.add_object(image, builder.label(label), number, box=box, mask=mask, mask_from_box=is_box)


def _union(
    builder: UnvalidatedSplitBuilder, image: int, parts: Sequence[tuple[int, str, Geometry]], hw: tuple[int, int]
) -> Polygons | Rle | None:
    """Return the mask of several parts: the polygons of all parts, or one RLE if a part is an RLE.

    Returns None if no part is valid; invalid parts are recorded.
    """
    parts_masks = [(number, geometry.mask) for number, _, geometry in parts if geometry.mask is not None]
    if not any(isinstance(mask, dict) for _, mask in parts_masks):
        return [polygon for _, mask in parts_masks for polygon in mask if not isinstance(polygon, str)]
    rles = []
    for number, mask in parts_masks:
        try:
            rles.append(masks.from_coco(mask, hw))
        except ValueError as problem:
            builder.skip_object(InvalidEntryError("invalid_mask", str(problem)), image, number, "")
    return masks.from_bitmap(reduce(np.maximum, map(masks.to_bitmap, rles))) if rles else None
