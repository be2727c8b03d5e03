"""COCO's JSON: polygons, compressed and uncompressed RLE, crowds, sparse ids, pictures without objects.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

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
    every = _class_names(need(content, "categories", str(annotations), list), annotations)
    class_names = every if classes is None else _chosen(every, classes, annotations)
    label_of = {category: label for label, category in enumerate(class_names.ids, start=1)}
    known_ids = set(every.ids)
    pictures = _pictures(need(content, "images", str(annotations), list), images, annotations)

    dropped = []
    for position, annotation in enumerate(need(content, "annotations", str(annotations), list)):
        annotation_id = need(annotation, "id", f"{annotations}: annotations[{position}]", int)
        where = f"{annotations}: annotation {annotation_id}"
        image_id, category = need(annotation, "image_id", where, int), need(annotation, "category_id", where, int)
        if image_id not in pictures:
            raise DataError(f"{where} belongs to image {image_id}, which the file does not list")
        if category not in known_ids:
            raise DataError(f"{where} has category {category}, which the file does not list")
        if category not in label_of:
            continue
        problem = pictures[image_id].add(
            box=_xyxy(annotation.get("bbox")),
            label=label_of[category],
            annotation_id=annotation_id,
            mask=annotation.get("segmentation"),
            area=annotation.get("area"),
            iscrowd=annotation.get("iscrowd", False),
        )
        dropped += [problem] if problem else []
    return class_names, finish(list(pictures.values()), dropped, annotations)


def _pictures(entries: list[Any], images: Path, annotations: Path) -> dict[int, Objects]:
    """The pictures by their ids, without objects yet; DataError where one is listed twice or is not there."""
    pictures: dict[int, Objects] = {}
    for position, entry in enumerate(entries):
        image_id = need(entry, "id", f"{annotations}: images[{position}]", int)
        where = f"{annotations}: image {image_id}"
        if image_id in pictures:
            raise DataError(f"{where} is listed twice")
        height, width = need(entry, "height", where, int), need(entry, "width", where, int)
        if height < 1 or width < 1:
            raise DataError(f"{where} is {width}x{height} pixels; both should be at least 1")
        path = images / need(entry, "file_name", where, str)
        pictures[image_id] = Objects(path, image_id, (height, width))
    check_images([p.path for p in pictures.values()], annotations)
    return pictures


def _class_names(categories: list[Any], annotations: Path) -> ClassNames:
    if not categories:
        raise DataError(f"{annotations} lists no categories")
    where = f"{annotations}: a category"
    names = [need(c, "name", where, str) for c in categories]
    try:
        return ClassNames(tuple(names), tuple(need(c, "id", where, int) for c in categories))
    except ValueError as error:
        raise DataError(f"{annotations}: {error}") from None


def _chosen(every: ClassNames, classes: Sequence[str], annotations: Path) -> ClassNames:
    for name in classes:
        if name not in every.names:
            raise UsageError(f"{annotations}: {unknown('class', name, every.names)}")
    return ClassNames(tuple(classes), tuple(every.ids[every.names.index(name)] for name in classes))


def _xyxy(box_xywh: Any) -> Any:
    """[x, y, w, h] -> [x0, y0, x1, y1]; what is neither that nor None goes on as it is, to be refused there."""
    if isinstance(box_xywh, list) and len(box_xywh) == 4 and all(isinstance(v, int | float) for v in box_xywh):
        x, y, w, h = box_xywh
        return [x, y, x + w, y + h]
    return box_xywh
