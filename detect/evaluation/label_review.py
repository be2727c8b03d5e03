"""Annotations with suspected errors as extra shapes, for labelme and CVAT.

Formats: https://github.com/wkentaro/labelme, one JSON file beside each image, and "CVAT for images 1.1",
https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/, one XML file for all images.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from detect.data.convert import copy_image
from detect.data.exporters import labelme
from detect.data.exporters.export_rows import image_rows, printable
from detect.data.exporters.exporter import ImageRow
from detect.data.exporters.file_names import choose_names
from detect.data.exporters.labelme import Shape, object_shapes
from detect.data.exporters.table_rows import export_of
from detect.evaluation.label_check import LabelError, LabelErrors
from detect.evaluation.label_errors import KINDS, LIKELY
from detect.io.files import disk_errors_naming, write_text

MAX_IMAGES = 200
CVAT_FILE, CVAT_LABELS = "cvat.xml", "cvat_labels.json"
_ATTRIBUTE = "suspect"


Suspects = list[tuple[Shape, LabelError | None]]
"""The shapes of an image, those of suspected errors with what is suspected."""


def write_review(found: LabelErrors, folder: Path) -> list[Path]:
    """Write the images with likely suspects, at most 200, and their annotations; return the files for CVAT.

    ``folder``/SPLIT/ has a copy of each image and a labelme file beside it; ``folder``/cvat.xml describes all of them,
    and cvat_labels.json the labels that its task needs. Each suspect is an extra shape. Nothing is written without a
    likely suspect. Raises DiskError, and DataError for an image that cannot be read any more.
    """
    suspects = _by_image(found)
    rows = {split: np.array([i for s, i in suspects if s == split], np.int64) for split in found.tables}
    parts = {split: found.tables[split].take_images(chosen) for split, chosen in rows.items() if len(chosen)}
    if not parts:
        return []
    names = choose_names(parts, labelme.EXPORTER)
    root = _cvat_root(found)
    places = [(split, index) for split in parts for index in rows[split].tolist()]
    images = image_rows(export_of(parts, found.class_names, names))
    for number, (place, image) in enumerate(zip(places, images, strict=True)):
        shapes: Suspects = [(shape, None) for shape in _annotations(found, image)]
        shapes += [(_suspect_shape(one), one) for one in suspects[place]]
        target = folder / image.split / image.name
        with disk_errors_naming(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_image(image.path, target)  # type: ignore[arg-type]  # images of a table have a path
        content = labelme.document(image.name, image.image_hw, (shape for shape, _ in shapes))
        write_text(target.with_suffix(".json"), json.dumps(content, indent=1) + "\n")
        _add_cvat_image(root, number, image, shapes)
    indent(root)
    texts = {
        CVAT_FILE: tostring(root, "unicode", xml_declaration=False),
        CVAT_LABELS: json.dumps(_cvat_labels(found), indent=1),
    }
    for name, text in texts.items():
        write_text(folder / name, text + "\n")
    return [folder / name for name in texts]


def _by_image(found: LabelErrors) -> dict[tuple[str, int], list[LabelError]]:
    """Return the likely suspects of the images with the strongest ones, by split and index, ascending."""
    by_image: dict[tuple[str, int], list[LabelError]] = defaultdict(list)
    for one in found.suspects:
        place = (one.split, one.index)
        if one.suspicion >= LIKELY and (place in by_image or len(by_image) < MAX_IMAGES):
            by_image[place].append(one)
    return dict(sorted(by_image.items()))


def _annotations(found: LabelErrors, image: ImageRow) -> Iterator[Shape]:
    for number, one in enumerate(image.objects, start=1):
        yield from object_shapes(one, printable(found.class_names.name(one.label)), number, image.image_hw)


def _suspect_shape(one: LabelError) -> Shape:
    box = one.detected_box or one.annotated_box
    assert box is not None
    return Shape(suspect_label(one), [], box, description=_description(one))


def suspect_label(one: LabelError) -> str:
    """Return the label of a suspect in labelme, such as ``missing: cat 0.97``."""
    names = {"wrong class": f"{one.annotated}, detected {one.detected}"}
    name = names.get(one.kind) or one.detected or one.annotated or ""
    return printable(f"{one.kind}: {name}" + ("" if one.score is None else f" {one.score:.2f}"))


def _description(one: LabelError) -> str:
    return printable(f"{one.text}; suspicion {one.suspicion:.2f}")


def _cvat_label(one: LabelError) -> str:
    return f"{_ATTRIBUTE}: {one.kind}"


def _cvat_labels(found: LabelErrors) -> list[dict[str, Any]]:
    """Return the labels of a task, as CVAT's constructor of labels takes them under "Raw"."""
    attribute = {"name": _ATTRIBUTE, "input_type": "text", "mutable": False, "values": [""], "default_value": ""}
    classes = [{"name": printable(name), "attributes": []} for name in found.class_names.names]
    return classes + [{"name": f"{_ATTRIBUTE}: {kind}", "attributes": [attribute]} for kind in KINDS]


def _cvat_root(found: LabelErrors) -> Element:
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    labels = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for one in _cvat_labels(found):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = one["name"]
        SubElement(label, "type").text = "any"
        attributes = SubElement(label, "attributes")
        for values in one["attributes"]:
            attribute = SubElement(attributes, "attribute")
            for key in ("name", "mutable", "input_type", "default_value", "values"):
                SubElement(attribute, key).text = "\n".join(values[key]) if key == "values" else str(values[key])
    return root


def _add_cvat_image(root: Element, number: int, image: ImageRow, shapes: Suspects) -> None:
    height, width = image.image_hw
    size = {"width": str(width), "height": str(height)}
    entry = SubElement(root, "image", {"id": str(number), "name": f"{image.split}/{image.name}", **size})
    for shape, suspect in shapes:
        label = shape.label if suspect is None else _cvat_label(suspect)
        common = {"label": label, "source": "manual", "occluded": "0"}
        group = {} if shape.group is None else {"group_id": str(shape.group)}
        if shape.polygon:
            points = ";".join(
                f"{x:.2f},{y:.2f}" for x, y in zip(shape.polygon[0::2], shape.polygon[1::2], strict=True)
            )
            element = SubElement(entry, "polygon", {**common, "points": points, "z_order": "0", **group})
        else:
            sides = {key: f"{value:.2f}" for key, value in zip(("xtl", "ytl", "xbr", "ybr"), shape.box, strict=True)}
            element = SubElement(entry, "box", {**common, **sides, "z_order": "0", **group})
        if suspect is not None:
            SubElement(element, "attribute", {"name": _ATTRIBUTE}).text = shape.description
