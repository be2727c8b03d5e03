"""COCO's JSON: polygons, compressed and uncompressed RLE, crowds, sparse ids, pictures without objects.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detect.data.readers.objects import Objects, check_images, finish, load_json, need
from detect.errors import DataError, UsageError, unknown
from detect.types import ClassNames, ImageRecord


def read(
    images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> tuple[ClassNames, list[ImageRecord]]:
    """The classes in the order of the file (or those of ``classes``, in theirs) and one record a picture."""
    content = load_json(annotations)
    class_names = _class_names(need(content, "categories", str(annotations)), classes, annotations)
    label_of = {category: label for label, category in enumerate(class_names.ids, start=1)}
    known_ids = {c["id"] for c in content["categories"]}

    entries = {need(e, "id", f"{annotations}: an image"): e for e in need(content, "images", str(annotations))}
    by_image: dict[Any, list[dict]] = defaultdict(list)
    for annotation in need(content, "annotations", str(annotations)):
        where = f"{annotations}: annotation {annotation.get('id', '?')}"
        image_id, category = need(annotation, "image_id", where), need(annotation, "category_id", where)
        if image_id not in entries:
            raise DataError(f"{where} belongs to image {image_id}, which the file does not list")
        if category not in known_ids:
            raise DataError(f"{where} has category {category}, which the file does not list")
        if category in label_of:
            by_image[image_id].append(annotation)

    records, dropped = [], []
    for image_id, entry in entries.items():
        where = f"{annotations}: image {image_id}"
        objects = Objects((int(need(entry, "height", where)), int(need(entry, "width", where))))
        for annotation in by_image[image_id]:
            problem = objects.add(
                box=_xyxy(annotation.get("bbox")),
                label=label_of[annotation["category_id"]],
                annotation_id=annotation.get("id", 0),
                mask=annotation.get("segmentation"),
                area=annotation.get("area"),
                iscrowd=annotation.get("iscrowd", 0),
            )
            dropped += [problem] if problem else []
        records.append(objects.record(images / need(entry, "file_name", where), image_id))
    check_images([r.path for r in records], annotations)
    return class_names, finish(records, dropped, annotations)


def _class_names(categories: Any, classes: Sequence[str] | None, annotations: Path) -> ClassNames:
    try:
        names = ClassNames(
            tuple(need(c, "name", f"{annotations}: a category") for c in categories),
            tuple(need(c, "id", f"{annotations}: a category") for c in categories),
        )
    except ValueError as error:
        raise DataError(f"{annotations}: {error}") from None
    if classes is None:
        return names
    for name in classes:
        if name not in names.names:
            raise UsageError(f"{annotations}: {unknown('class', name, names.names)}")
    return ClassNames(tuple(classes), tuple(names.ids[names.names.index(c)] for c in classes))


def _xyxy(box_xywh: Any) -> list[float] | None:
    if box_xywh is None:
        return None
    x, y, w, h = box_xywh
    return [x, y, x + w, y + h]
