"""VGG Image Annotator 1 and 2: polygons, rectangles, circles, ellipses and closed lines.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. Read are, told apart by what they hold,

- a VIA 2 project, ``{"_via_img_metadata": {...}, "_via_attributes": {...}, "_via_settings": {...}, ...}``,
- the exported annotations of VIA 2, which are that ``_via_img_metadata`` alone, and of VIA 1, where the
  ``regions`` of an entry are a dict keyed "0", "1", ...: ``{"<file name><bytes>": {filename, size, regions, ...}}``,
- and the CSV export of both (``via_csv``), by its suffix.

The size of an image is not written down, so it is read from the image's header; ``size`` is its bytes, or -1.
Images are looked for in the folder that the description of the dataset names, never where the project's
settings say (``default_filepath`` is a path on the annotator's machine): first by the file name as it is written,
then with the backslashes of Windows as slashes, and an absolute path by its last part.

VIA knows no crowds; a region with the attribute "iscrowd" of "1" is one here, as exporters/via.py writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detect.data.quality.problems import Place
from detect.data.readers import via_csv
from detect.data.readers.parsing import image_name, load_json, need
from detect.data.readers.via_classes import ClassAttribute, Values, defined_options, find, region_values
from detect.data.readers.via_shapes import outline
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError
from detect.progress import warn

CROWD = "iscrowd"
_ADDRESS = re.compile(r"\s*([a-z][a-z0-9+.-]+://|data:)", re.IGNORECASE)
Region = tuple[dict[str, Any], dict[str, Values]]  # its shape and its attributes


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """What the file says of the images in the folder ``images``, in the order of their names.

    Which attribute of the regions names the class is told in ``via_classes``. Without any, ``classes`` gives the
    one class of all.
    """
    entries, options = _content(annotations)
    pictures = {name: _regions(entry, annotations) for name, entry in _by_name(entries, images, annotations)}
    every = [_without_crowd(values) for regions in pictures.values() for _, values in regions]
    attribute = find(every, _without_crowd(options), classes, annotations)
    builder = UnvalidatedSplitBuilder(images, annotations, "region")
    closed, annotation_id = 0, 0
    for name, regions in pictures.items():
        image = builder.add_image(name)
        for number, region in enumerate(regions, start=1):
            annotation_id += 1
            closed += _add(builder, image, number, region, attribute, annotation_id)
    if closed:
        warn(f"{annotations}: {closed} polylines of 3 points or more are taken for closed outlines")
    return builder.finish(attribute.class_names.names, listed=not attribute.in_use)


def _content(annotations: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The entries of the images, and the options of the attributes where the file defines them."""
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


def _by_name(entries: Mapping[str, Any], images: Path, annotations: Path) -> list[tuple[str, Any]]:
    """The entries with the file names of their images, sorted; DataError where one comes twice or is on the web."""
    found: dict[str, Any] = {}
    for key, entry in entries.items():
        name = need(entry, "filename", f"{annotations}: {key}", str)
        if _ADDRESS.match(name):
            raise DataError(
                f"{annotations}: {key[:100]}: 'filename' is the web address {name[:100]}; download the image "
                f"to {images} and write its file name there"
            )
        there = image_name(images, name)
        if there in found:
            raise DataError(f"{annotations}: {key}: {name} is listed twice")
        found[there] = entry
    return sorted(found.items())


def _regions(entry: Any, annotations: Path) -> list[Region]:
    """The regions of one image, a dict in version 1, a list in version 2."""
    where = f"{annotations}: {entry['filename']}"
    regions = need(entry, "regions", where)
    if not isinstance(regions, dict):
        regions = dict(enumerate(need(entry, "regions", where, list)))
    found = []
    for number, region in enumerate(regions.values(), start=1):
        place = f"{where}, region {number}"
        shape = need(region, "shape_attributes", place, dict)
        attributes = need(region, "region_attributes", place, dict)
        found.append((shape, region_values(attributes, place)))
    return found


def _without_crowd(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that may name the class."""
    return {name: value for name, value in attributes.items() if name != CROWD}


def _add(
    builder: UnvalidatedSplitBuilder, image: int, number: int, region: Region, attribute: ClassAttribute, annotation_id: int
) -> bool:
    """Add one region, unless it is of a class that is not asked for. Returns whether it was a line, closed now."""
    shape, values = region
    crowd = values.get(CROWD) == ["1"]
    place = f"{builder.annotations}: {builder.name(image)}, region {number}"
    try:
        if (label := attribute.label(values)) is None:
            return False
        box, polygon = outline(shape, place)
    except InvalidEntryError as problem:
        where = Place(builder.name(image), f"region {number}", str(problem))
        builder.skip(problem.kind, where, image, json.dumps(region))
        return False
    builder.add_object(image, label, number, box=box, mask=[polygon], iscrowd=crowd, annotation_id=annotation_id)
    return shape["name"] == "polyline"
