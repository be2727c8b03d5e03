"""VGG Image Annotator 1: polygons. One JSON dict, ``"<file name><bytes>" -> {filename, size, regions, ...}``.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/ (version 1.0: ``regions`` is a dict keyed "0", "1", ...).
The size of a picture is not written down, so it is read from the picture's header.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detect.data.readers.objects import Objects, check_images, finish, load_json, need
from detect.errors import DataError, unknown
from detect.media.images import image_hw
from detect.types import ClassNames, ImageRecord


def read(
    images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> tuple[ClassNames, list[ImageRecord]]:
    """One record a picture, in the order of the file names. A single class is every region's; with more,
    each region names its own in one of its ``region_attributes``."""
    if not classes:
        raise DataError(f"{annotations}: VIA files name no classes; write them under 'classes' in the YAML file")
    content = load_json(annotations)
    if not isinstance(content, dict):
        raise DataError(f"{annotations} is not a VIA 1 file: it should hold one dict, not a {type(content).__name__}")
    class_names = ClassNames(tuple(classes))
    entries = _by_name(content, annotations)
    check_images([images / name for name in entries], annotations)

    pictures, dropped = [], []
    annotation_id = 0
    for image_id, (name, entry) in enumerate(sorted(entries.items()), start=1):
        objects = Objects(images / name, image_id, image_hw(images / name))
        for region in _regions(entry, f"{annotations}: {name}"):
            annotation_id += 1
            where = f"{annotations}: {name}, region {annotation_id}"
            polygon = _polygon(need(region, "shape_attributes", where), where)
            problem = objects.add(
                box=[min(polygon[0::2]), min(polygon[1::2]), max(polygon[0::2]), max(polygon[1::2])],
                label=_label(region, class_names, where),
                annotation_id=annotation_id,
                mask=[polygon],
            )
            dropped += [problem] if problem else []
        pictures.append(objects)
    return class_names, finish(pictures, dropped, annotations)


def _by_name(content: dict[str, Any], annotations: Path) -> dict[str, Any]:
    """The entries by their file names, which the keys are not; DataError where a name comes twice."""
    entries: dict[str, Any] = {}
    for key, entry in content.items():
        name = need(entry, "filename", f"{annotations}: {key}", str)
        if name in entries:
            raise DataError(f"{annotations}: {key}: {name} is listed twice")
        entries[name] = entry
    return entries


def _regions(entry: dict[str, Any], where: str) -> list[Any]:
    """Version 1.0 writes a dict, later ones a list."""
    regions = need(entry, "regions", where)
    return list(regions.values()) if isinstance(regions, dict) else need(entry, "regions", where, list)


def _polygon(shape: Any, where: str) -> list[float]:
    """``[x0, y0, x1, y1, ...]`` in pixels."""
    if (name := need(shape, "name", where)) != "polygon":
        raise DataError(f"{where} is a {name}; only polygons are read")
    xs, ys = need(shape, "all_points_x", where, list), need(shape, "all_points_y", where, list)
    if len(xs) != len(ys) or not xs:
        raise DataError(f"{where} has {len(xs)} x for {len(ys)} y")
    for value in (*xs, *ys):
        if not isinstance(value, int | float):
            raise DataError(f"{where} has a point at {value!r}, which is not a number")
    return [v for point in zip(xs, ys, strict=True) for v in point]


def _label(region: dict[str, Any], class_names: ClassNames, where: str) -> int:
    if len(class_names) == 1:
        return 1
    values = [str(v) for v in need(region, "region_attributes", where, dict).values()]
    for value in values:
        if value in class_names.names:
            return class_names.label(value)
    raise DataError(f"{where}: {unknown('class', ', '.join(values) or '(none)', class_names.names)}")
