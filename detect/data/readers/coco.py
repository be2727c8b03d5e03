"""COCO's JSON: polygons, compressed and uncompressed RLE, crowds, sparse ids, images without objects.

Format: https://cocodataset.org/#format-data. A file of hundreds of MB becomes columns one entry at a time: it is
mapped and not read, msgspec finds the entries without making objects of them, and decodes those that are right
straight into their types. The others go through Python's own JSON, which takes NaN too, to say what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from detect import progress
from detect.data.quality.problems import Place
from detect.data.readers.parsing import image_name, load_json, need
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError
from detect.structures import masks
from detect.structures.masks import Polygons, Rle

_MANY = 50_000  # annotations: from so many on a bar is shown, and after each so many memory is given back
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Some = TypeVar("_Some")
_Side = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Document(msgspec.Struct):
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


_decode_category = msgspec.json.Decoder(_Category).decode
_decode_image = msgspec.json.Decoder(_Image).decode
_decode_annotation = msgspec.json.Decoder(_Annotation).decode
_decode_polygons = msgspec.json.Decoder(list[list[float]]).decode


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the file says of the images in the folder ``images``; its categories are the classes, whatever
    ``classes`` says. DataError for a file that is not of this format."""
    pictures, objects, categories, forget = _entries(annotations)
    names, ids = _classes(categories, annotations)
    builder = UnvalidatedSplitBuilder(images, annotations, "annotation")
    row_of = _add_images(builder, pictures)
    label_of = {category: label for label, category in enumerate(ids, start=1)}
    bar = progress.bar(objects, desc=f"reading {annotations.name}", disable=len(objects) < _MANY)
    for position, entry in enumerate(bar):
        if position % _MANY == 0:
            forget()
        try:
            _add_object(builder, entry, row_of, label_of)
        except InvalidEntryError as problem:
            _reject(builder, problem, _plain(entry), position, row_of)
    return builder.finish(names, ids)


def _entries(annotations: Path) -> tuple[list[Any], list[Any], list[Any], Callable[[], None]]:
    """The images, annotations and categories of the file: raw JSON, or where it is not strictly JSON, Python's; and
    what gives the memory of the file's pages back until they are looked at again."""
    try:
        with annotations.open("rb") as file:
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # lives as long as the entries
        document = msgspec.json.decode(memoryview(text), type=_Document)

        def forget() -> None:
            if hasattr(mmap, "MADV_DONTNEED"):  # Windows has not
                text.madvise(mmap.MADV_DONTNEED)

        return document.images, document.annotations, document.categories, forget
    except (OSError, ValueError, RecursionError):  # not there, empty, with NaN, with a byte order mark, or no COCO
        content = load_json(annotations)
    where = str(annotations)
    images, objects, categories = (need(content, key, where, list) for key in ("images", "annotations", "categories"))
    return images, objects, categories, lambda: None


def _plain(entry: Any) -> Any:
    """An entry as Python has it; as its text where that is more than Python takes."""
    if not isinstance(entry, msgspec.Raw):
        return entry
    try:
        return json.loads(bytes(entry))
    except (ValueError, RecursionError):  # a number of thousands of digits, a thousand brackets
        return bytes(entry).decode(errors="replace")


def _text(plain: Any) -> str:
    return plain if isinstance(plain, str) else json.dumps(plain)


def _classes(entries: Sequence[Any], annotations: Path) -> tuple[list[str], list[int]]:
    if not entries:
        raise DataError(f"{annotations} lists no categories")
    categories = []
    for position, entry in enumerate(entries):
        try:
            categories.append(_typed(entry, _Category, _decode_category))
        except InvalidEntryError as problem:
            raise DataError(f"{annotations}: categories[{position}]: {problem}") from None
    return [c.name for c in categories], [c.id for c in categories]


def _add_images(builder: UnvalidatedSplitBuilder, entries: Sequence[Any]) -> dict[int, int]:
    """Adds the images; returns the row of each by its id. Where images share an id nobody knows whose the
    objects are, so none of them is added."""
    images: dict[int, list[_Image]] = {}
    for position, entry in enumerate(entries):
        try:
            one = _typed(entry, _Image, _decode_image)
            images.setdefault(one.id, []).append(one)
        except InvalidEntryError as problem:
            place = Place(builder.annotations.name, f"images[{position}]", str(problem))
            builder.skip("malformed_image", place, raw=_text(_plain(entry)))
    rows = {}
    for image_id, same in images.items():
        if len({one.file_name for one in same}) == 1:
            name = image_name(builder.images, same[0].file_name)
            rows[image_id] = builder.add_image(name, (same[0].height, same[0].width), image_id)
            for one in same[1:]:
                place = Place(one.file_name, f"image {image_id}", "")
                builder.skip("listed_twice", place, raw=_text(msgspec.to_builtins(one)))
            continue
        for one in same:
            place = Place(one.file_name, f"image {image_id}", "an id of several images")
            builder.skip("doubled_image_id", place, raw=_text(msgspec.to_builtins(one)))
    return rows


def _add_object(builder: UnvalidatedSplitBuilder, entry: Any, row_of: dict[int, int], label_of: dict[int, int]) -> None:
    """Adds one annotation; Unusable where it is none."""
    one = _typed(entry, _Annotation, _decode_annotation)
    if one.image_id not in row_of:
        raise InvalidEntryError("unknown_image", f"image {one.image_id}")
    if one.category_id not in label_of:
        raise InvalidEntryError("unknown_class", f"category {one.category_id}")
    box = None
    if one.bbox is not None:
        x, y, w, h = one.bbox
        box = (x, y, x + w, y + h)
        if not all(map(math.isfinite, box)):
            raise InvalidEntryError("not_finite", f"bbox {list(one.bbox)}")
    mask = _mask(one.segmentation)
    if box is None and mask is None:
        raise InvalidEntryError("malformed", "it has neither a box nor a mask")
    area = -1.0 if one.area is not None and math.isnan(one.area) else one.area  # NaN is for none that is given
    builder.add_object(
        row_of[one.image_id], label_of[one.category_id], one.id,
        box=box, mask=mask, area=area, iscrowd=bool(one.iscrowd), annotation_id=one.id,
    )  # fmt: skip


def _reject(builder: UnvalidatedSplitBuilder, problem: InvalidEntryError, raw: Any, position: int, row_of: dict[int, int]) -> None:
    known = raw if isinstance(raw, dict) else {}
    where = f"annotation {known['id']}" if "id" in known else f"annotations[{position}]"
    image_id = known.get("image_id")
    image = row_of.get(image_id, -1) if isinstance(image_id, int) else -1
    file = builder.annotations.name if image < 0 else builder.name(image)
    builder.skip(problem.kind, Place(file, where[:60], str(problem)), image, _text(raw))


def _typed(entry: Any, kind: type[_Some], decode: Callable[[Any], _Some]) -> _Some:
    """An entry as its type; Unusable says what is not of it."""
    if isinstance(entry, msgspec.Raw):
        with contextlib.suppress(ValueError):  # msgspec's, and what is not UTF-8
            return decode(entry)
    entry = _plain(entry)
    if isinstance(entry, dict):
        entry = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in entry.items()}  # 3.0 is 3
        if kind is _Annotation and "segmentation" in entry:
            entry["segmentation"] = msgspec.Raw(json.dumps(entry["segmentation"]).encode())
    try:
        return msgspec.convert(entry, kind)
    except msgspec.ValidationError as problem:
        raise InvalidEntryError("malformed", str(problem)) from None


def _mask(text: msgspec.Raw) -> Polygons | Rle | None:
    """The mask, None where there is none; Unusable where it is neither polygons nor a run-length code."""
    try:
        return _decode_polygons(text) or None  # COCO writes [] where there is none
    except ValueError:
        segmentation = _plain(text)
    if isinstance(segmentation, list):
        raise InvalidEntryError("bad_mask", "a segmentation is a list of polygons, each a flat list of finite numbers")
    try:
        return masks.compressed(segmentation) if segmentation else None
    except ValueError as problem:
        raise InvalidEntryError("bad_mask", str(problem)) from None
