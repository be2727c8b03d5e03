"""Reader of the VGG Image Annotator (VIA) 1 and 2: polygons, rectangles, circles, ellipses and closed lines.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/. These files are read and distinguished by their content:

- a VIA 2 project, ``{"_via_img_metadata": {...}, "_via_attributes": {...}, "_via_settings": {...}, ...}``,
- the annotations exported by VIA 2, which are only the ``_via_img_metadata``, and by VIA 1, whose ``regions`` are a
  dict with keys "0", "1", ...: ``{"<file name><bytes>": {"filename", "size", "regions", ...}}``,
- the CSV export of both (``via_csv``), recognized by its suffix.

VIA does not store the size of an image, so it is read from the image file; ``size`` is the number of bytes, or -1.
Images are searched in the folder that the description of the dataset names, also those with a web address.
``default_filepath`` of a project is ignored, since it is a path on the annotator's machine.

VIA has no crowds. A region with the attribute "iscrowd" equal to "1" is read as a crowd; exporters/via.py writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detect.data.file_listing import images_below
from detect.data.image_names import match_names
from detect.data.readers import via_csv
from detect.data.readers.parsing import WEB_ADDRESS, image_name, load_json, require, sample_image_names
from detect.data.readers.reader import AnnotationFile, Reader
from detect.data.readers.via_classes import (
    AttributeValues,
    ClassAttribute,
    attribute_options,
    attribute_values,
    find_class_attribute,
)
from detect.data.readers.via_shapes import box_and_polygon
from detect.data.unvalidated_split import InvalidEntryError, UnvalidatedSplit, UnvalidatedSplitBuilder
from detect.errors import DataError
from detect.progress import warn
from detect.text import counted

CROWD_ATTRIBUTE = "iscrowd"
_PROJECT_KEYS_OF_VIA_3 = {"project", "metadata", "file"}
_CSV_COLUMNS = {"filename", "region_shape_attributes"}


class _Region(NamedTuple):
    shape: dict[str, Any]
    attributes: dict[str, AttributeValues]


def parse(images: Path, annotations: Path, classes: Sequence[str] | None = None) -> UnvalidatedSplit:
    """Read a VIA file, see ``Reader.parse``; images are sorted by name.

    ``via_classes`` describes which attribute of the regions is the class. Without one, ``classes`` must be a single
    class, which all regions get.
    """
    entries, options = _read_content(annotations)
    regions_of = {name: _read_regions(entry, annotations) for name, entry in _by_name(entries, images, annotations)}
    attributes = [_without_crowd(region.attributes) for regions in regions_of.values() for region in regions]
    class_attribute = find_class_attribute(attributes, _without_crowd(options), classes, annotations)
    builder = UnvalidatedSplitBuilder(images, annotations, "region")
    for attribute in class_attribute.flags:
        builder.note("class_attribute", file=attribute)
    num_closed, annotation_id = 0, 0
    for name, regions in regions_of.items():
        image = builder.add_image(name)
        for number, region in enumerate(regions, start=1):
            annotation_id += 1
            num_closed += _add_object(builder, image, number, region, class_attribute, annotation_id)
    if num_closed:
        warn(f"{annotations}: {counted(num_closed, 'polyline')} of 3 points or more read as closed polygons")
    return builder.finish(class_attribute.class_names.names, classes_listed=not class_attribute.in_use)


def _recognize(file: AnnotationFile) -> bool:
    if file.suffix == ".csv":
        return any(columns >= _CSV_COLUMNS for columns in file.csv_columns)
    content = file.json_object
    if any(key.startswith("_via_") for key in content) or content.keys() >= _PROJECT_KEYS_OF_VIA_3:
        return True
    first = bytes(next(iter(content.values()), b""))
    return b'"filename"' in first and b'"regions"' in first


READER = Reader("VIA JSON or CSV", (".json", ".csv"), _recognize, parse, sample_image_names)


def _read_content(annotations: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Return the entries of the images, and the options of each attribute that the file defines."""
    if annotations.suffix.lower() == ".csv":
        return via_csv.read_entries(annotations), {}
    content = load_json(annotations)
    if not isinstance(content, dict):
        raise DataError(f"{annotations} is not a VIA file: it should hold one dict, not a {type(content).__name__}")
    if any(key.startswith("_via_") for key in content):
        entries = require(content, "_via_img_metadata", str(annotations), dict)
        return entries, attribute_options(content, annotations)
    if content.keys() >= _PROJECT_KEYS_OF_VIA_3:
        raise DataError(
            f"{annotations} is a VIA 3 project; supported are VIA 1 and 2, and COCO files exported by VIA 3"
        )
    return content, {}


def _by_name(entries: Mapping[str, Any], images: Path, annotations: Path) -> list[tuple[str, Any]]:
    """Return pairs (image name in the folder ``images``, entry), sorted.

    Raises DataError for an image that is listed twice with different regions, and for an image on the web that is not
    in the folder.
    """
    by_name: dict[str, Any] = {}
    on_the_web: dict[str, str] = {}  # key of each address
    for key, entry in entries.items():
        written = require(entry, "filename", f"{annotations}: {key}", str)
        if WEB_ADDRESS.match(written):
            on_the_web[written] = key
        name = image_name(images, written)
        if name in by_name and not _same_regions(by_name[name], entry):
            raise DataError(f"{annotations}: {key}: {written} is listed twice, with different regions")
        by_name[name] = by_name[name] if name in by_name and not entry.get("regions") else entry
    _check_downloaded(on_the_web, by_name, images, annotations)
    return sorted(by_name.items())


def _same_regions(one: Any, other: Any) -> bool:
    """Return whether two entries of one image do not contradict each other."""
    held = [entry.get("regions") for entry in (one, other)]
    lists = [list(regions.values()) if isinstance(regions, dict) else regions for regions in held]
    return not all(lists) or lists[0] == lists[1]


def _check_downloaded(addresses: Mapping[str, str], names: Iterable[str], images: Path, annotations: Path) -> None:
    """Raise DataError for an image on the web to which no file in ``images`` fits.

    addresses: key of the entry of each address.
    names: the images of all entries, as names or addresses.
    """
    if not addresses:
        return
    unused = set(images_below(images)).difference(names) if images.is_dir() else set()
    found = match_names(addresses, unused)
    for address, key in addresses.items():
        if address not in found:
            raise DataError(
                f"{annotations}: {key[:100]}: 'filename' is the URL {address[:100]}; download the image to {images}"
            )


def _read_regions(entry: Any, annotations: Path) -> list[_Region]:
    """Return the regions of one image, which are a dict in VIA 1 and a list in VIA 2."""
    where = f"{annotations}: {entry['filename']}"
    entries = require(entry, "regions", where)
    if not isinstance(entries, dict):
        entries = dict(enumerate(require(entry, "regions", where, list)))
    regions = []
    for number, region in enumerate(entries.values(), start=1):
        where_region = f"{where}, region {number}"
        shape = require(region, "shape_attributes", where_region, dict)
        attributes = require(region, "region_attributes", where_region, dict)
        regions.append(_Region(shape, attribute_values(attributes, where_region)))
    return regions


def _without_crowd(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name != CROWD_ATTRIBUTE}


def _add_object(
    builder: UnvalidatedSplitBuilder,
    image: int,
    number: int,
    region: _Region,
    class_attribute: ClassAttribute,
    annotation_id: int,
) -> bool:
    """Add one region unless its class is not among the wanted ones. Returns whether it is a line that was closed."""
    where = f"{builder.annotations}: {builder.names[image]}, region {number}"
    try:
        if (label := class_attribute.label(region.attributes)) is None:
            return False
        box, polygon = box_and_polygon(region.shape, where)
    except InvalidEntryError as problem:
        if problem.kind == "shape_without_area":
            builder.note(problem.kind, image, number, str(problem))
            return False
        builder.skip_object(problem, image, number, json.dumps(region))
        return False
    crowd = region.attributes.get(CROWD_ATTRIBUTE) == ["1"]
    is_box = region.shape["name"] == "rect"
    builder.add_object(
        image,
        label,
        number,
        box=box,
        mask=[polygon],
        mask_from_box=is_box,
        iscrowd=crowd,
        annotation_id=annotation_id,
    )
    return region.shape["name"] == "polyline"
