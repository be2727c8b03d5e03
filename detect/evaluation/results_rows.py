"""Reads a JSON file of detections into rows: COCO's results format in the forms that programs write.

Format: https://cocodataset.org/#format-results, a list of ``{"image_id", "category_id", "bbox", "score"}`` with
``segmentation`` from models with masks, as Detectron2, MMDetection, YOLOX, Ultralytics and ``Detections.to_coco``
write it. Also read: the same rows in an annotation file with ``images`` and ``categories``, as FiftyOne exports them,
and ``detections.json`` of ``detect.inference.writers``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from detect.data.readers.coco_ids import Id, as_number
from detect.data.readers.parsing import load_json
from detect.errors import DataError
from detect.text import counted, one_line

EXPECTED = (
    'expected a list of detections in COCO\'s results format: [{"image_id", "category_id", "bbox", "score"}, ...]'
)
_TYPES = {"id": "an id", "image_id": "an id", "category_id": "an id", "score": "a number", "bbox": "four numbers"}
_AnyId = int | float | str | None


class Row(msgspec.Struct, gc=False):
    """One detection, as written.

    bbox: [x, y, width, height] in pixels; None if the file has none.
    segmentation: JSON of a mask in any of COCO's forms; ``null`` or ``[]`` without a mask.
    file_name: name or path of the image; None if only ``image_id`` identifies it.
    category_name, class_name: name of the class, as programs call it; None if only ``category_id`` identifies it.
    """

    image_id: _AnyId = None
    category_id: _AnyId = None
    bbox: list[float] | None = None
    score: float | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"null")
    file_name: str | None = None
    category_name: str | None = None
    class_name: str | None = None

    @property
    def named_class(self) -> str:
        """Name of the class, "" if there is none."""
        return self.category_name or self.class_name or ""


class _OwnRow(msgspec.Struct, gc=False):
    """A detection in ``detections.json``, see ``detect.structures.detections_json``."""

    name: str
    score: float
    box_xyxy: tuple[float, float, float, float]
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Entry(Row, gc=False):
    """An item of a list: a detection, or an image with its detections in an earlier ``detections.json``."""

    source: str | None = None
    detections: list[_OwnRow] | None = None


class _Named(msgspec.Struct):
    """An entry of ``categories``."""

    id: int | float | str
    name: str | None = None


class _Image(msgspec.Struct):
    """An entry of ``images``: an image with an id, or with its detections in ``detections.json``."""

    id: int | float | str | None = None
    file_name: str | None = None
    source: str | None = None
    detections: list[_OwnRow] | None = None


class _Document(msgspec.Struct):
    """An object that holds the rows, instead of a list."""

    annotations: list[_Entry] | None = None
    predictions: list[_Entry] | None = None
    detections: list[_Entry] | None = None
    images: list[_Image] | None = None
    categories: list[_Named] | None = None


@dataclass(frozen=True, repr=False)
class Results:
    """The detections in a file, in its order.

    path: of the file, for messages.
    rows: at least one; each has a score, an image (``image_id`` or ``file_name``) and a class (``category_id`` or
        a name). Ids are whole numbers or text.
    """

    path: Path
    rows: list[Row]

    def where(self, index: int) -> str:
        """Return the position of a row in words: ``the detection at index 3 (image 7)``, counted from 0."""
        row = self.rows[index]
        return f"the detection at index {index} (image {row.file_name or row.image_id})"


def read_rows(path: str | Path) -> Results:
    """Read a file of detections.

    Raises DataError for a file that cannot be read or is not JSON, for other content, for annotations without scores,
    and for a file without any detection.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if not text.strip():
        raise DataError(f"{path} is empty; {EXPECTED}")
    try:
        content: Any = msgspec.json.decode(text, type=list[_Entry] | _Document)
    except (ValueError, RecursionError):  # NaN, a byte order mark, wrong types, or not JSON
        content = _read_leniently(path)
    entries = content if isinstance(content, list) else _rows_of(content, path)
    if not entries:
        raise DataError(f"{path} holds no detections (an empty list)")
    rows: list[Any] = _of_images(entries) if entries[0].detections is not None else entries
    _check_complete(rows, path)
    return Results(path, rows)


def _read_leniently(path: Path) -> list[_Entry] | _Document:
    """Read what msgspec refuses, such as NaN, and name the entry at fault. Raises DataError."""
    content = load_json(path)
    if isinstance(content, list):
        return _convert(content, path, _Entry)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds neither a list nor an object; {EXPECTED}")
    kinds = {
        "images": _Image,
        "categories": _Named,
        "annotations": _Entry,
        "predictions": _Entry,
        "detections": _Entry,
    }
    found = {key: content[key] for key in kinds if isinstance(content.get(key), list)}
    return _Document(**{key: _convert(entries, path, kinds[key]) for key, entries in found.items()})


def _convert(entries: list[Any], path: Path, kind: type) -> list[Any]:
    converted: list[Any] = []
    for index, entry in enumerate(entries):
        if isinstance(entry, dict):
            for row in (entry, *(r for r in entry.get("detections") or () if isinstance(r, dict))):
                if "segmentation" in row:
                    row["segmentation"] = msgspec.Raw(json.dumps(row["segmentation"]).encode())
        try:
            converted.append(msgspec.convert(entry, kind))
        except (ValueError, OverflowError) as error:
            raise DataError(f"{path}: the entry at index {index} {_mistake(entry, str(error))}") from None
    return converted


def _mistake(entry: Any, message: str) -> str:
    """Return the end of a sentence about an entry that msgspec refuses with ``message``."""
    key = message.rpartition("$.")[2].rstrip("`").partition("[")[0]
    if not isinstance(entry, dict) or key not in entry:
        return f"is {one_line(repr(entry), 60)}; expected an object"
    return f"has the {key} {one_line(repr(entry[key]), 60)}; expected {_TYPES.get(key, 'text')}"


def _rows_of(document: _Document, path: Path) -> list[_Entry]:
    """Return the rows of a document, with the names that its lists of images and categories give for ids."""
    lists = [document.predictions, document.detections, document.annotations]
    rows = next((rows for rows in lists if rows is not None), None)
    if rows is None and any(image.detections is not None for image in document.images or ()):
        return [_Entry(source=image.source, detections=image.detections or []) for image in document.images or ()]
    if rows is None:
        raise DataError(f"{path} holds no list of detections; {EXPECTED}")
    files = {as_number(image.id): image.file_name for image in document.images or () if image.id is not None}
    names = {as_number(category.id): category.name for category in document.categories or ()}
    for row in rows:
        row.file_name = row.file_name or files.get(as_number(row.image_id))
        row.category_name = row.category_name or names.get(as_number(row.category_id))
    return rows


def _of_images(entries: list[_Entry]) -> list[Row]:
    """Return the rows of ``detections.json``, which lists the detections image by image."""
    rows = []
    for entry in entries:
        for found in entry.detections or ():
            x0, y0, x1, y1 = found.box_xyxy
            row = Row(
                None, None, [x0, y0, x1 - x0, y1 - y0], found.score, found.segmentation, entry.source, found.name
            )
            rows.append(row)
    return rows


def _check_complete(rows: list[Any], path: Path) -> None:
    """Give ids that are written as text or floats their number. Raises DataError for rows that lack something."""
    if not rows:
        raise DataError(f"{path} holds no detections")
    unscored = [index for index, row in enumerate(rows) if row.score is None]
    if len(unscored) == len(rows):
        raise DataError(
            f"{path} holds no scores, so these are annotations (ground truth) or an incomplete export, not detections;"
            " each detection needs a 'score' in 0..1"
        )
    if unscored:
        lack = "lacks" if len(unscored) == 1 else "lack"
        raise DataError(
            f"{path}: {counted(len(unscored), 'detection')} {lack} a 'score', the first at index {unscored[0]}"
        )
    for index, row in enumerate(rows):
        if type(row.image_id) is int and type(row.category_id) is int:  # almost always
            continue
        row.image_id, row.category_id = as_number(row.image_id), as_number(row.category_id)
        for key, name in (("image_id", row.file_name), ("category_id", row.named_class)):
            if not name and not isinstance(getattr(row, key), Id):
                value = getattr(row, key)
                raise DataError(f"{path}: the detection at index {index} has the {key} {value}; expected an id")
