"""Reader of COCO's JSON: polygons, compressed and uncompressed RLE, crowds, sparse ids, images without objects.

Format: https://cocodataset.org/#format-data. A file of hundreds of megabytes is converted to columns one entry at a
time: it is memory-mapped, msgspec locates the entries without creating objects for them, and decodes each valid entry
directly into a typed struct. Invalid entries are parsed again with Python's ``json``, which also accepts NaN, to state
what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from detect import progress
from detect.data.readers.parsing import image_name, load_json, require, sample_image_names
from detect.data.readers.reader import HEAD_BYTES, AnnotationFile, Reader
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.data.validation.problems import Location
from detect.errors import DataError
from detect.structures import masks
from detect.structures.masks import Polygons, Rle

_MANY = 50_000  # annotations: larger files show a progress bar, and memory is released after every this many entries
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Side = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_T = TypeVar("_T")


class _Document(msgspec.Struct):
    """Entries of a file: raw JSON, or Python objects if the file is not strict JSON."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


class _Image(msgspec.Struct):
    id: _Int
    file_name: str
    height: _Side
    width: _Side


class _Category(msgspec.Struct):
    id: _Int
    name: str


class _Annotation(msgspec.Struct):
    id: _Int
    image_id: _Int
    category_id: _Int
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: bool | int | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


_decode_polygons = msgspec.json.Decoder(list[list[float]]).decode


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a COCO file, see ``Reader.parse``. The classes are the categories of the file; ``classes`` is ignored."""
    document, text = _read_document(annotations)
    names, ids = _read_classes(document.categories, annotations)
    builder = UnvalidatedSplitBuilder(images, annotations, "annotation")
    row_of = _add_images(builder, document.images)
    label_of = {category: label for label, category in enumerate(ids, start=1)}
    entries = progress.bar(document.annotations, desc=f"reading {annotations.name}", min_items=_MANY)
    for position, entry in enumerate(entries):
        if position % _MANY == 0 and text is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            text.madvise(mmap.MADV_DONTNEED)  # frees the memory until it is accessed again
        try:
            _add_object(builder, entry, row_of, label_of)
        except InvalidEntryError as problem:
            _skip_object(builder, problem, _to_python(entry), position, row_of)
    return builder.finish(names, ids)


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


def _read_classes(entries: Sequence[Any], annotations: Path) -> tuple[list[str], list[int]]:
    """Return the names and the category ids of the classes."""
    if not entries:
        raise DataError(f"{annotations} lists no categories")
    categories = []
    for position, entry in enumerate(entries):
        try:
            categories.append(_to_struct(entry, _Category))
        except InvalidEntryError as problem:
            raise DataError(f"{annotations}: categories[{position}]: {problem}") from None
    return [c.name for c in categories], [c.id for c in categories]


def _add_images(builder: UnvalidatedSplitBuilder, entries: Sequence[Any]) -> dict[int, int]:
    """Add the images and return {image id: index of the image, as ``add_object`` takes it}.

    Entries that share an id but name different files are all skipped, since it is unknown which file is annotated. Of
    entries with the same id and the same file, the first is used.
    """
    images: dict[int, list[_Image]] = {}
    for position, entry in enumerate(entries):
        try:
            image = _to_struct(entry, _Image)
            images.setdefault(image.id, []).append(image)
        except InvalidEntryError as problem:
            location = Location(builder.annotations.name, f"images[{position}]", str(problem))
            builder.skip("malformed_image_entry", location, raw=_to_text(_to_python(entry)))
    rows = {}
    for image_id, same_id in images.items():
        kind, reason, skipped = "duplicate_image_id", "several images have this id", same_id
        if len({image.file_name for image in same_id}) == 1:
            first, *others = same_id
            name = image_name(builder.images, first.file_name)
            rows[image_id] = builder.add_image(name, (first.height, first.width), image_id)
            kind, reason, skipped = "image_listed_twice", "", others
        for image in skipped:
            location = Location(image.file_name, f"image {image_id}", reason)
            builder.skip(kind, location, raw=_to_text(msgspec.to_builtins(image)))
    return rows


def _add_object(
    builder: UnvalidatedSplitBuilder, entry: Any, row_of: dict[int, int], label_of: dict[int, int]
) -> None:
    """Add one annotation. Raises InvalidEntryError when it cannot be used."""
    annotation = _to_struct(entry, _Annotation)
    if annotation.image_id not in row_of:
        raise InvalidEntryError("unknown_image", f"image {annotation.image_id}")
    if annotation.category_id not in label_of:
        raise InvalidEntryError("unknown_class", f"category {annotation.category_id}")
    box = None
    if annotation.bbox is not None:
        x, y, w, h = annotation.bbox
        box = (x, y, x + w, y + h)
        if not all(map(math.isfinite, box)):
            raise InvalidEntryError("non_finite_box", f"bbox {list(annotation.bbox)}")
    mask = _read_mask(annotation.segmentation)
    if box is None and mask is None:
        raise InvalidEntryError("malformed_object", "neither a box nor a mask")
    area = annotation.area
    if area is not None and math.isnan(area):  # in the table NaN means "not annotated"; this is an invalid area
        area = -1.0
    builder.add_object(
        row_of[annotation.image_id],
        label_of[annotation.category_id],
        annotation.id,
        box=box,
        mask=mask,
        area=area,
        iscrowd=bool(annotation.iscrowd),
        annotation_id=annotation.id,
    )


def _skip_object(
    builder: UnvalidatedSplitBuilder, problem: InvalidEntryError, entry: Any, position: int, row_of: dict[int, int]
) -> None:
    known = entry if isinstance(entry, dict) else {}
    where = f"annotation {known['id']}" if "id" in known else f"annotations[{position}]"
    image_id = known.get("image_id")
    image = row_of.get(image_id, -1) if isinstance(image_id, int) else -1
    file = builder.annotations.name if image < 0 else builder.names[image]
    builder.skip(problem.kind, Location(file, where[:60], str(problem)), image, _to_text(entry))


def _to_struct(entry: Any, kind: type[_T]) -> _T:
    """Return an entry as the struct ``kind``. Raises InvalidEntryError for missing keys and wrong types."""
    if isinstance(entry, msgspec.Raw):
        with contextlib.suppress(ValueError):  # a wrong type, or invalid UTF-8
            return msgspec.json.decode(entry, type=kind)
    entry = _to_python(entry)
    if isinstance(entry, dict):  # spreadsheets write ids as floats: 3.0 is accepted as 3
        entry = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in entry.items()}
        if kind is _Annotation and "segmentation" in entry:
            entry["segmentation"] = msgspec.Raw(json.dumps(entry["segmentation"]).encode())
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed_object", str(problem)) from None


def _read_mask(text: msgspec.Raw) -> Polygons | Rle | None:
    """Return polygons, a compressed RLE, or None. Raises InvalidEntryError for anything else."""
    try:
        return _decode_polygons(text) or None  # COCO writes [] for an object without a mask
    except ValueError:
        segmentation = _to_python(text)
    if isinstance(segmentation, list):
        raise InvalidEntryError(
            "invalid_mask", "a segmentation is a list of polygons, each a flat list of finite numbers"
        )
    try:
        return masks.from_rle(segmentation) if segmentation else None
    except ValueError as problem:
        raise InvalidEntryError("invalid_mask", str(problem)) from None
