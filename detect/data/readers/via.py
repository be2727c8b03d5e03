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
    entries = sorted(content.items(), key=lambda item: str(need(item[1], "filename", f"{annotations}: {item[0]}")))
    paths = [images / entry["filename"] for _, entry in entries]
    check_images(paths, annotations)

    records, dropped = [], []
    annotation_id = 0
    for image_id, ((key, entry), path) in enumerate(zip(entries, paths, strict=True), start=1):
        objects = Objects(image_hw(path))
        regions = need(entry, "regions", f"{annotations}: {key}")
        for region in regions.values() if isinstance(regions, dict) else regions:
            annotation_id += 1
            where = f"{annotations}: {entry['filename']}, region {annotation_id}"
            polygon = _polygon(need(region, "shape_attributes", where), where)
            problem = objects.add(
                box=[min(polygon[0::2]), min(polygon[1::2]), max(polygon[0::2]), max(polygon[1::2])],
                label=_label(region, class_names, where),
                annotation_id=annotation_id,
                mask=[polygon],
            )
            dropped += [f"{entry['filename']}, {problem}"] if problem else []
        records.append(objects.record(path, image_id))
    return class_names, finish(records, dropped, annotations)


def _polygon(shape: dict[str, Any], where: str) -> list[float]:
    """``[x0, y0, x1, y1, ...]`` in pixels."""
    if need(shape, "name", where) != "polygon":
        raise DataError(f"{where} is a {shape['name']}; only polygons are read")
    xs, ys = need(shape, "all_points_x", where), need(shape, "all_points_y", where)
    if len(xs) != len(ys) or not xs:
        raise DataError(f"{where} has {len(xs)} x for {len(ys)} y")
    return [float(v) for point in zip(xs, ys, strict=True) for v in point]


def _label(region: dict[str, Any], class_names: ClassNames, where: str) -> int:
    if len(class_names) == 1:
        return 1
    values = [str(v) for v in (region.get("region_attributes") or {}).values()]
    for value in values:
        if value in class_names.names:
            return class_names.label(value)
    raise DataError(f"{where}: {unknown('class', ', '.join(values) or '(none)', class_names.names)}")
