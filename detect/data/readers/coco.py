"""Reader of COCO's JSON: polygons, compressed and uncompressed RLE, crowds, sparse ids, images without objects.

Format: https://cocodataset.org/#format-data. A file of hundreds of megabytes is converted to columns one entry at a
time: it is memory-mapped, msgspec locates the entries without creating objects for them, and decodes each valid entry
directly into a typed struct. Other entries are parsed again with Python's ``json``, which also accepts NaN, and what
other programs write is converted: numbers as text, text as ids, missing sizes and ids (``coco_shapes``, ``coco_ids``).
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from detect import progress
from detect.data.readers.coco_ids import Categories, Id, as_number, integer_ids
from detect.data.readers.coco_shapes import read_box, read_shape
from detect.data.readers.parsing import image_name, is_no_object, load_json, require, sample_image_names
from detect.data.readers.reader import HEAD_BYTES, AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError

_MANY = 50_000  # annotations: larger files show a progress bar, and memory is released after every this many entries
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_IDS = ("id", "image_id", "category_id")
_NUMBERS = (*_IDS, "height", "width", "area", "iscrowd")
_T = TypeVar("_T")


class _Document(msgspec.Struct):
    """Entries of a file: raw JSON, or Python objects if the file is not strict JSON."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


class _Image(msgspec.Struct, kw_only=True):
    id: _Int | str
    file_name: str
    height: _Side | None = None
    width: _Side | None = None


class _Category(msgspec.Struct, kw_only=True):
    id: _Int | str
    name: str
    supercategory: Any = None


class _Annotation(msgspec.Struct, kw_only=True):
    image_id: _Int | str
    category_id: _Int | str
    id: _Int | str | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: bool | int | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    attributes: Any = None
    keypoints: Any = None


class _StrictImage(_Image, kw_only=True):
    id: _Int


class _StrictCategory(_Category, kw_only=True):
    id: _Int


class _StrictAnnotation(_Annotation, kw_only=True):
    """An annotation as COCO writes it, which needs no conversion and is decoded faster."""

    id: _Int
    image_id: _Int
    category_id: _Int


_STRICT: dict[type, type] = {_Image: _StrictImage, _Category: _StrictCategory, _Annotation: _StrictAnnotation}


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a COCO file, see ``Reader.parse``. The classes are the categories of the file; ``classes`` is ignored."""
    document, text = _read_document(annotations)
    categories = _read_categories(document.categories, annotations)
    builder = UnvalidatedSplitBuilder(images, annotations, "annotation")
    row_of = _add_images(builder, document.images)
    entries = progress.bar(document.annotations, desc=f"reading {annotations.name}", min_items=_MANY)
    for position, entry in enumerate(entries):
        if position % _MANY == 0 and text is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            text.madvise(mmap.MADV_DONTNEED)  # frees the memory until it is accessed again
        try:
            _add_object(builder, entry, position, row_of, categories)
        except InvalidEntryError as problem:
            _skip_object(builder, problem, _to_python(entry), position, row_of)
    return _finish(builder, categories)


def _finish(builder: UnvalidatedSplitBuilder, categories: Categories) -> UnvalidatedSplit:
    """Return the split with the categories that are classes."""
    for category, reason in categories.unused():
        builder.note("dropped_category", value=reason, file=category.name)
    kept = categories.kept()
    ids, renumbered = integer_ids([category.id for category in kept])
    if renumbered:
        builder.note("renumbered_ids", value=f"category ids: {renumbered}")
    split = builder.finish(categories.names, range(1, len(categories.names) + 1))
    label_of = np.zeros(len(categories.names) + 1, np.int64)
    label_of[[category.label for category in kept]] = np.arange(len(kept)) + 1
    table = replace(split.table, labels=label_of[split.table.labels])
    return replace(split, table=table, names=tuple(category.name for category in kept), ids=tuple(ids))


def _recognize(file: AnnotationFile) -> bool:
    content = file.json_object
    if not {"images", "annotations", "categories"} <= content.keys():
        return False
    return b"segments_info" not in bytes(content["annotations"][:HEAD_BYTES])  # which panoptic ground truth has


READER = Reader("COCO JSON", (".json",), _recognize, parse, sample_image_names)


def _read_document(annotations: Path) -> tuple[_Document, mmap.mmap | None]:
    """Return the entries, and the memory-mapped file that they refer to (None for Python objects).

    Raises DataError.
    """
    try:
        with annotations.open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return msgspec.json.decode(memoryview(text), type=_Document), text
    except (OSError, ValueError, RecursionError):  # missing, empty, with NaN or a byte order mark, or not COCO
        content = load_json(annotations)
    return _Document(*(require(content, key, str(annotations), list) for key in _Document.__struct_fields__)), None


def _to_python(entry: Any) -> Any:
    """Return an entry as Python objects, or as text when Python's parser refuses it."""
    if not isinstance(entry, msgspec.Raw):
        return entry
    try:
        return json.loads(bytes(entry))
    except (ValueError, RecursionError):  # a number of thousands of digits, deep nesting
        return bytes(entry).decode(errors="replace")


def _to_text(entry: Any) -> str:
    return entry if isinstance(entry, str) else json.dumps(entry)


def _read_categories(entries: Sequence[Any], annotations: Path) -> Categories:
    if not entries:
        raise DataError(f"{annotations} lists no categories")
    categories = Categories()
    for position, entry in enumerate(entries):
        try:
            category = _to_struct(entry, _Category)
        except InvalidEntryError as problem:
            raise DataError(f"{annotations}: categories[{position}]: {problem}") from None
        categories.add(category.id, category.name, category.supercategory)
    return categories


def _add_images(builder: UnvalidatedSplitBuilder, entries: Sequence[Any]) -> dict[Id, int]:
    """Add the images and return {image id: index of the image, as ``add_object`` takes it}.

    Entries that share an id but name different files are all skipped, since it is unknown which file is annotated. Of
    entries with the same id and the same file, the first is used.
    """
    images: dict[Id, list[_Image]] = {}
    for position, entry in enumerate(entries):
        try:
            image = _to_struct(entry, _Image)
            images.setdefault(image.id, []).append(image)
        except InvalidEntryError as problem:
            location = Location(builder.annotations.name, f"images[{position}]", str(problem))
            builder.skip("malformed_image_entry", location, raw=_to_text(_to_python(entry)))
    numbers, renumbered = integer_ids(list(images))
    if renumbered:
        builder.note("renumbered_ids", value=f"image ids: {renumbered}")
    rows = {}
    for number, (image_id, same_id) in zip(numbers, images.items(), strict=True):
        kind, reason, skipped = "duplicate_image_id", "several images have this id", same_id
        if len({image.file_name for image in same_id}) == 1:
            first, *others = same_id
            name = image_name(builder.images, first.file_name)
            hw = (first.height, first.width) if first.height and first.width else (0, 0)
            rows[image_id] = builder.add_image(name, hw, number)
            kind, reason, skipped = "image_listed_twice", "", others
        for image in skipped:
            location = Location(image.file_name, f"image {image_id}", reason)
            builder.skip(kind, location, raw=_to_text(msgspec.to_builtins(image)))
    return rows


def _add_object(
    builder: UnvalidatedSplitBuilder, entry: Any, position: int, row_of: dict[Id, int], categories: Categories
) -> None:
    """Add one annotation. Raises InvalidEntryError when it cannot be used.

    position: of the annotation in its list, counted from 0.
    """
    annotation = _to_struct(entry, _Annotation)
    if annotation.image_id not in row_of:
        raise InvalidEntryError("unknown_image", f"image {annotation.image_id}")
    image = row_of[annotation.image_id]
    if (category := categories.get(annotation.category_id)) is None:
        raise InvalidEntryError("unknown_class", f"category {annotation.category_id}")
    annotation_id = annotation.id if isinstance(annotation.id, int) else None
    number = position + 1 if annotation_id is None else annotation_id
    if annotation.bbox and not annotation.bbox[2] > 0 and is_no_object(category.name, annotation.bbox):
        builder.note("no_object", image, number, f"{category.name}, bbox {list(annotation.bbox)}")
        category.no_object = True
        return
    shape = read_shape(annotation.bbox, annotation.segmentation, annotation.attributes)
    if shape.note:
        builder.note(shape.note, image, number)
    if annotation.keypoints:
        builder.note("keypoints", image, number)
    area = annotation.area
    if area is not None and math.isnan(area):  # in the table NaN means "not annotated"; this is an invalid area
        area = -1.0
    builder.add_object(
        image,
        category.label,
        number,
        box=shape.box,
        mask=shape.mask,
        mask_from_box=shape.mask_from_box,
        area=None if shape.mask_from_box else area,
        iscrowd=bool(annotation.iscrowd),
        annotation_id=annotation_id,
    )
    category.num_objects += 1


def _skip_object(
    builder: UnvalidatedSplitBuilder, problem: InvalidEntryError, entry: Any, position: int, row_of: dict[Id, int]
) -> None:
    known = entry if isinstance(entry, dict) else {}
    where = f"annotation {known['id']}" if "id" in known else f"annotations[{position}]"
    image_id = as_number(known.get("image_id"))
    image = row_of.get(image_id, -1) if isinstance(image_id, int | str) else -1
    file = builder.annotations.name if image < 0 else builder.names[image]
    builder.skip(problem.kind, Location(file, where[:60], str(problem)), image, _to_text(entry))


def _to_struct(entry: Any, kind: type[_T]) -> _T:
    """Return an entry as the struct ``kind``. Raises InvalidEntryError for missing keys and wrong types."""
    if isinstance(entry, msgspec.Raw):
        with contextlib.suppress(ValueError):  # a wrong type, or invalid UTF-8
            struct: _T = msgspec.json.decode(entry, type=_STRICT[kind])
            return struct
    entry = _to_python(entry)
    if isinstance(entry, dict):
        entry = {key: as_number(value) if key in _NUMBERS else value for key, value in entry.items()}
        if kind is _Category and type(entry.get("name")) in (int, float):
            entry["name"] = str(entry["name"])
        if kind is _Annotation:
            entry["bbox"] = read_box(entry.get("bbox"))
            entry["segmentation"] = msgspec.Raw(json.dumps(entry.get("segmentation")).encode())
        if kind is _Image:
            entry |= {side: None for side in ("height", "width") if entry.get(side) == 0}
    try:
        return _with_numeric_ids(msgspec.convert(entry, kind))
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed_object", str(problem)) from None


def _with_numeric_ids(struct: _T) -> _T:
    """Return the struct with ids such as "7" as the number 7, so that they match ids without quotes."""
    for key in _IDS:
        if isinstance(value := getattr(struct, key, None), str):
            setattr(struct, key, as_number(value))
    return struct
