"""Pascal VOC: JPEGImages/, one XML file an image in Annotations/, and the names of a split's images without their
suffix in ImageSets/Main/SPLIT.txt. Boxes alone; crowds are marked difficult, as readers/voc.py reads them.

Corners are the first and the last pixel from 1, with two decimals where they are not whole.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from detect.data.exporters import annotated_images
from detect.data.exporters.annotated_images import ExportLoss, Image, Names, Parts, decimals, inside, lost_area
from detect.data.readers.folders import stem
from detect.structures.class_names import ClassNames

_DIGITS = 2
_NARROWEST = 1.02  # px: a box of one pixel has equal corners, which readers take for a slip of the mouse


def images(split: str) -> str:
    return "JPEGImages"


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """A name that two splits share is of one image, with the same objects in both."""
    shown = annotated_images.text_names(class_names)
    counts = Counter(annotated_images.lost_ids(class_names) | annotated_images.unused(parts, class_names))
    written = set()
    for image in annotated_images.images(parts, names):
        if image.name in written:
            continue
        written.add(image.name)
        root = _head(image)
        for thing in image.things:
            whole, lost = inside(thing, image.image_hw)
            lost += [annotated_images.MASKS] * (thing.mask is not None)
            counts.update(lost + lost_area(thing, float(np.prod(whole.box[2:] - whole.box[:2]))))
            _add(root, shown[thing.label - 1], whole.box, thing.iscrowd)
        path = folder / "Annotations" / f"{stem(image.name)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        indent(root)
        ElementTree(root).write(path, encoding="utf-8")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split in parts:
        (lists / f"{split}.txt").write_text("".join(f"{stem(name)}\n" for name in names[split]), encoding="utf-8")
    return annotated_images.losses(counts)


def _head(image: Image) -> Element:
    root = Element("annotation")
    name = PurePosixPath(image.name)
    _put(root, "folder", (PurePosixPath(images(image.split)) / name.parent).as_posix())
    _put(root, "filename", name.name)
    size = SubElement(root, "size")
    height, width = image.image_hw
    for key, number in (("width", width), ("height", height), ("depth", 3)):
        _put(size, key, str(number))
    _put(root, "segmented", "0")
    return root


def _add(root: Element, name: str, box: np.ndarray, difficult: bool) -> None:
    thing = SubElement(root, "object")
    for key, text in (("name", name), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", str(int(difficult)))):
        _put(thing, key, text)
    corners = SubElement(thing, "bndbox")
    for key, number in zip(("xmin", "ymin", "xmax", "ymax"), _corners(box), strict=True):
        _put(corners, key, decimals(number, _DIGITS))


def _corners(box: np.ndarray) -> list[float]:
    """First and last pixel from 1, of a box xyxy from 0."""
    middle, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], _NARROWEST) / 2
    narrow = half <= _NARROWEST / 2
    low, high = np.where(narrow, middle - half, box[:2]), np.where(narrow, middle + half, box[2:])
    return [*(low + 1).tolist(), *high.tolist()]


def _put(parent: Element, key: str, text: str) -> None:
    SubElement(parent, key).text = text
