"""VGG Image Annotator 1 and 2: polygons, rectangles, circles, ellipses and closed lines.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. Read are, told apart by what they hold,

- a VIA 2 project, ``{"_via_img_metadata": {...}, "_via_attributes": {...}, "_via_settings": {...}, ...}``,
- the exported annotations of VIA 2, which are that ``_via_img_metadata`` alone, and of VIA 1, where the
  ``regions`` of an entry are a dict keyed "0", "1", ...: ``{"<file name><bytes>": {filename, size, regions, ...}}``,
- and the CSV export of both (``via_csv``), by its suffix.

The size of a picture is not written down, so it is read from the picture's header; ``size`` is its bytes, or -1.
Pictures are looked for in the folder that the description of the data set names, never where the project's
settings say (``default_filepath`` is a path on the annotator's machine): first by the file name as it is written,
then with the backslashes of Windows as slashes, and an absolute path by its last part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from detect.data.readers import via_csv
from detect.data.readers.objects import Objects, check_images, finish, is_file, load_json, need
from detect.data.readers.via_classes import ClassAttribute, Values, defined_options, find, region_values
from detect.data.readers.via_shapes import outline
from detect.errors import DataError, warn
from detect.media.images import image_hw
from detect.types import ClassNames, ImageRecord

_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
Region = tuple[dict[str, Any], dict[str, Values], str]  # its shape, its attributes, where it stands in the file


def read(
    images: Path, annotations: Path, classes: Sequence[str] | None = None
) -> tuple[ClassNames, list[ImageRecord]]:
    """The classes, and one record a picture in the order of the file names.

    Which attribute of the regions names the class is told in ``via_classes``. Without any, ``classes`` gives the
    one class of all. Points, open lines of 2 points and regions without a class are left out, with a warning.
    """
    entries, options = _content(annotations)
    pictures = {path: _regions(entry, annotations) for path, entry in _by_path(entries, images, annotations)}
    check_images(list(pictures), annotations)
    attribute = find(
        [values for regions in pictures.values() for _, values, _ in regions], options, classes, annotations
    )

    objects, dropped, closed, first_id = [], [], 0, 1
    for image_id, (path, regions) in enumerate(pictures.items(), start=1):
        objects.append(Objects(path, image_id, image_hw(path)))
        problems, lines = _add(objects[-1], regions, attribute, first_id)
        dropped += problems
        closed += lines
        first_id += len(regions)
    if closed:
        warn(f"{annotations}: {closed} polylines of 3 points or more are taken for closed outlines")
    return attribute.class_names, finish(objects, dropped, annotations)


def _content(annotations: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The entries of the pictures, and the options of the attributes where the file defines them."""
    if annotations.suffix.lower() == ".csv":
        return via_csv.entries(annotations), {}
    content = load_json(annotations)
    if not isinstance(content, dict):
        raise DataError(f"{annotations} is not a VIA file: it should hold one dict, not a {type(content).__name__}")
    if any(key.startswith("_via_") for key in content):
        return need(content, "_via_img_metadata", str(annotations), dict), defined_options(content, annotations)
    if {"project", "metadata", "file"} <= set(content):
        raise DataError(f"{annotations} is a VIA 3 project; only VIA 1 and 2 are read (or VIA's COCO export, as coco)")
    return content, {}


def _by_path(entries: Mapping[str, Any], images: Path, annotations: Path) -> list[tuple[Path, Any]]:
    """The entries with the pictures they are about, sorted; DataError where one comes twice or is on the web."""
    found: dict[Path, Any] = {}
    for key, entry in entries.items():
        name = need(entry, "filename", f"{annotations}: {key}", str)
        if _ADDRESS.match(name):
            raise DataError(
                f"{annotations}: {key[:100]}: 'filename' is the web address {name[:100]}; download the picture "
                f"to {images} and write its file name there"
            )
        path = _path(images, name)
        if path in found:
            raise DataError(f"{annotations}: {key}: {name} is listed twice")
        found[path] = entry
    return sorted(found.items(), key=lambda item: item[0].as_posix())


def _path(images: Path, name: str) -> Path:
    if is_file(images / name):
        return images / name
    written = PureWindowsPath(name)  # splits at both kinds of slash
    return images / (written.name if written.anchor else written.as_posix())


def _regions(entry: Any, annotations: Path) -> list[Region]:
    """The regions of one picture, a dict in version 1, a list in version 2, with their numbers from 1."""
    where = f"{annotations}: {entry['filename']}"
    regions = need(entry, "regions", where)
    if not isinstance(regions, dict):
        regions = dict(enumerate(need(entry, "regions", where, list)))
    found = []
    for number, region in enumerate(regions.values(), start=1):
        place = f"{where}, region {number}"
        shape = need(region, "shape_attributes", place, dict)
        attributes = need(region, "region_attributes", place, dict)
        found.append((shape, region_values(attributes, place), place))
    return found


def _add(
    objects: Objects, regions: Sequence[Region], attribute: ClassAttribute, first_id: int
) -> tuple[list[str], int]:
    """Add the regions of one picture. Returns why some are left out, and how many polylines were closed."""
    dropped, closed = [], 0
    for number, (shape, values, place) in enumerate(regions, start=1):
        try:
            if (label := attribute.label(values, place)) is None:
                continue
            box, polygon = outline(shape, place)
        except ValueError as problem:
            dropped.append(f"{objects.path.name}, region {number}: {problem}")
            continue
        annotation_id = first_id + number - 1
        if reason := objects.add(box, label, annotation_id, mask=[polygon], name=f"region {number}"):
            dropped.append(reason)
        else:
            closed += shape["name"] == "polyline"
    return dropped, closed
