"""Reader of labelme's JSON: one file per image, with polygons, boxes, circles and masks (``labelme_shapes``).

Format: https://github.com/wkentaro/labelme, ``{"shapes": [{"label", "points", "shape_type", "group_id", ...}],
"imagePath", "imageHeight", "imageWidth", "imageData", ...}``. Shapes with the same label and group_id are one object,
as in labelme's own exports. The file in the folder of the images is used; without one, the image in ``imageData`` is
unpacked (``embedded_images``). Shapes labeled ``__ignore__`` or ``_background_``, and points and lines, are left out.
Rectangles, upright or rotated, are boxes; they are masks only in a dataset that also has other shapes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detect.data.file_listing import files_below, is_file, without_suffix
from detect.data.readers.embedded_images import unpack_images
from detect.data.readers.labelme_shapes import Geometry, parse_shape, shape_geometry, why_left_out
from detect.data.readers.parsing import image_name, load_json, read_annotation_files
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError, MediaError
from detect.media.images import image_hw
from detect.structures import masks
from detect.structures.masks import Polygons, Rle


class _Document(msgspec.Struct, rename="camel"):
    """The keys that are read. All others, such as the large imageData, are skipped without decoding."""

    shapes: Any = msgspec.UNSET
    image_path: Any = None
    image_height: Any = None
    image_width: Any = None


class _EmbeddedImage(msgspec.Struct, rename="camel"):
    image_data: Any = None


class _Part(NamedTuple):
    """One shape of an object; ``number`` is its position in the file, counted from 1."""

    number: int
    label: str
    geometry: Geometry


_decode_image = msgspec.json.Decoder(_EmbeddedImage).decode
_decode = msgspec.json.Decoder(_Document).decode


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read the JSON files in the folder ``annotations``, which may be the same as ``images``; see ``Reader.parse``.

    JSON files without ``shapes`` are ignored. Of several files about one image, the one with the image's name is
    used, else the first.
    """
    builder = UnvalidatedSplitBuilder(images, annotations, "shape")
    files = files_below(annotations, (".json",))
    file_named = {without_suffix(file): file for file in files}
    file_of: dict[str, str] = {}
    described: list[str] = []  # file of each image
    none_found = f"no labelme file in {annotations} (a .json file with a list of 'shapes')"
    for file, document, same_name in read_annotation_files(builder, files, _load, none_found):
        name = _image_of_file(images, annotations, file, document.image_path, same_name)
        other = file_of.setdefault(
            name, file_named.get(without_suffix(name), file)
        )  # a.json wins over "a (copy).json"
        if other != file and (own := _own_name(builder, name, file, other)):
            name, other = own, file
        if other == file:
            described.append(file)
            _add_image(builder, name, file, document)
        else:
            builder.skip_file("malformed_image_entry", file, f"describes {name}, like {other}, which is used")
    unpack_images(builder, described, _load_image)
    return builder.finish()


def _own_name(builder: UnvalidatedSplitBuilder, name: str, file: str, other: str) -> str:
    """Return another name for the image inside ``file`` if that differs from the image of the same name, else "".

    name: image that both ``file`` and ``other`` describe.
    """
    own = PurePosixPath(file).with_suffix(PurePosixPath(name).suffix).as_posix()
    if is_file(builder.images / name) or own in builder.names:
        return ""
    inside, other_inside = (_load_image(builder.annotations / path) for path in (file, other))
    return own if inside and inside != other_inside else ""


def _recognize(file: AnnotationFile) -> bool:
    return {"shapes", "imagePath"} <= file.json_object.keys()


READER = Reader("labelme JSON", (".json",), _recognize, parse, embeds_images=True)


def _load(path: Path) -> _Document | None:
    """Return the content of a file, or None if it is not labelme's. Raises DataError for invalid JSON or shapes."""
    try:
        document = _decode(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # missing, with NaN or a byte order mark, or not JSON
        content = load_json(path)
        document = msgspec.convert(content, _Document) if isinstance(content, dict) else _Document()
    if document.shapes is msgspec.UNSET:
        return None
    if document.shapes is None:
        document.shapes = []
    if not isinstance(document.shapes, list):
        raise DataError(f"{path} has {str(document.shapes)[:60]!r} for 'shapes'; expected a list")
    return document


def _load_image(path: Path) -> str:
    """Return the image in a file that was loaded before as base64 text, "" if there is none."""
    try:
        data = _decode_image(path.read_bytes()).image_data
    except ValueError:  # with NaN or a byte order mark
        data = load_json(path).get("imageData")
    return data if isinstance(data, str) else ""


def _image_of_file(images: Path, annotations: Path, file: str, written: Any, same_name: str) -> str:
    """Return the image, relative to ``images``, that an annotation file describes.

    It is the first of these that exists, else the first: the path ``written`` in the file, relative to the file; the
    same path relative to the corresponding subfolder of ``images``; its last part there; ``same_name``, the image with
    the name of the annotation file; the last part of the path in ``images``.
    """
    subfolder = PurePosixPath(file).parent
    path = image_name((annotations / file).parent, written) if isinstance(written, str) else ""
    last = PurePosixPath(path).name
    if not last:
        path = last = without_suffix(PurePosixPath(file).name)
    candidates = [annotations / subfolder / path, images / subfolder / path, images / subfolder / last]
    names = [*(_relative_to_images(images, candidate) for candidate in candidates), same_name, last]
    names = list(filter(None, names))
    return next((name for name in names if is_file(images / name)), names[0])


def _relative_to_images(images: Path, path: Path) -> str:
    """Return ``path`` relative to ``images``, "" if it is outside."""
    try:
        name = os.path.relpath(path, images)  # does not follow links: an image may be a link to another folder
    except ValueError:  # another drive, or a name that no file system accepts
        return ""
    return "" if Path(name).parts[:1] in ((), ("..",)) else Path(name).as_posix()


def _add_image(builder: UnvalidatedSplitBuilder, name: str, file: str, document: _Document) -> None:
    """Add an image with its objects."""
    hw = _read_size(document, builder.images / name)
    image = builder.add_image(name, hw, source=file)
    objects: dict[Any, list[_Part]] = {}
    for number, entry in enumerate(document.shapes, start=1):
        try:
            shape = parse_shape(entry)
            if kind := why_left_out(shape):
                builder.note(kind, image, number, shape.label if kind == "background_shape" else str(shape.shape_type))
                continue
            part = _Part(number, shape.label, shape_geometry(shape, hw))
        except InvalidEntryError as problem:
            builder.skip_object(problem, image, number, json.dumps(entry))
            continue
        key = number if shape.group_id is None else (shape.label, shape.group_id)
        objects.setdefault(key, []).append(part)
        if part.geometry.is_rotated:
            builder.note("rotated_box", image, number, str(shape.shape_type))
    for parts in objects.values():
        is_box = all(part.geometry.is_box for part in parts)
        boxes = [box for part in parts if (box := part.geometry.box)]
        # Otherwise the box follows from the mask.
        box = _box_around(boxes) if is_box or len(boxes) == len(parts) == 1 else None
        mask = _merge_masks(builder, image, parts, hw)
        label, number = builder.label(parts[0].label), parts[0].number
        builder.add_object(image, label, number, box=box, mask=mask, mask_from_box=is_box)


def _box_around(boxes: Sequence[list[float]]) -> list[float]:
    lefts, uppers, rights, lowers = zip(*boxes, strict=True)
    return [min(lefts), min(uppers), max(rights), max(lowers)]


def _merge_masks(
    builder: UnvalidatedSplitBuilder, image: int, parts: Sequence[_Part], hw: tuple[int, int]
) -> Polygons | Rle:
    """Return the mask of an object: the polygons of its parts, or one RLE if a part is an RLE."""
    polygons = [part.geometry.mask for part in parts if isinstance(part.geometry.mask, list)]
    rles = [part.geometry.mask for part in parts if isinstance(part.geometry.mask, dict)]
    if len(polygons) == len(parts):
        return polygons
    if len(rles) == len(parts) == 1:
        return rles[0]
    for part in parts:
        if isinstance(part.geometry.mask, list):
            try:
                rles.append(masks.from_polygons([part.geometry.mask], hw))
            except ValueError as problem:
                builder.skip_object(InvalidEntryError("invalid_mask", str(problem)), image, part.number, "")
    return masks.from_bitmap(reduce(np.maximum, map(masks.to_bitmap, rles)))


def _read_size(document: _Document, path: Path) -> tuple[int, int]:
    """Return (height, width) as written, else of the image file; (0, 0) if that cannot be read."""
    height, width = document.image_height, document.image_width
    if all(type(side) is int and 0 < side < 2**31 for side in (height, width)):
        return height, width
    try:
        return image_hw(path)
    except MediaError:  # reported when the images are checked
        return 0, 0
