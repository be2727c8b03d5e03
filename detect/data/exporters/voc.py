"""Exporter of Pascal VOC: images in JPEGImages/, one XML file per image in Annotations/.

ImageSets/Main/SPLIT.txt lists the image names of a split without suffix. Only boxes are written; crowds are marked
``difficult``. Coordinates are the first and the last pixel, counted from 1, with two decimals if they are not whole.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from detect.data.exporters.annotated_images import (
    MASKS,
    AnnotatedImage,
    annotated_images,
    clip_to_image,
    decimals,
    export_losses,
    lost_area,
    lost_category_ids,
    stripped_names,
    unused_classes,
)
from detect.data.exporters.exporter import Exporter, ExportLoss, Names, Parts
from detect.data.file_listing import without_suffix
from detect.structures.class_names import ClassNames

_IMAGES = "JPEGImages"
_DIGITS = 2
_MIN_SIDE_PX = 1.02  # a box of one pixel has equal coordinates, which readers take for an accidental click


def write(folder: Path, parts: Parts, class_names: ClassNames, names: Names) -> list[ExportLoss]:
    """Write the annotation files, see ``Exporter.write``. A name in two splits is one image with equal objects."""
    class_texts = stripped_names(class_names)
    counts = Counter(lost_category_ids(class_names) | unused_classes(parts, class_names))
    written = set()
    for image in annotated_images(parts, names):
        if image.name in written:
            continue
        written.add(image.name)
        root = _annotation_element(image)
        for annotated in image.objects:
            clipped, lost = clip_to_image(annotated, image.image_hw)
            lost += [MASKS] * (annotated.mask is not None)
            counts.update(lost + lost_area(annotated, float(np.prod(clipped.box[2:] - clipped.box[:2]))))
            _add_object(root, class_texts[annotated.label - 1], clipped.box, annotated.iscrowd)
        path = folder / "Annotations" / f"{without_suffix(image.name)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        indent(root)
        ElementTree(root).write(path, encoding="utf-8")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for split in parts:
        text = "".join(f"{without_suffix(name)}\n" for name in names[split])
        (lists / f"{split}.txt").write_text(text, encoding="utf-8")
    return export_losses(counts)


EXPORTER = Exporter(write, image_folder=lambda split: _IMAGES, unique_stems=True)


def _annotation_element(image: AnnotatedImage) -> Element:
    """Return the root element of an image, without objects."""
    root = Element("annotation")
    name = PurePosixPath(image.name)
    _add_text(root, "folder", (PurePosixPath(_IMAGES) / name.parent).as_posix())
    _add_text(root, "filename", name.name)
    size = SubElement(root, "size")
    height, width = image.image_hw
    for key, number in (("width", width), ("height", height), ("depth", 3)):
        _add_text(size, key, str(number))
    _add_text(root, "segmented", "0")
    return root


def _add_object(root: Element, name: str, box: np.ndarray, difficult: bool) -> None:
    element = SubElement(root, "object")
    for key, text in (("name", name), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", str(int(difficult)))):
        _add_text(element, key, text)
    bndbox = SubElement(element, "bndbox")
    for key, number in zip(("xmin", "ymin", "xmax", "ymax"), _coordinates(box), strict=True):
        _add_text(bndbox, key, decimals(number, _DIGITS))


def _coordinates(box: np.ndarray) -> list[float]:
    """Return the first and last pixel, counted from 1, of a box xyxy counted from 0."""
    center, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], _MIN_SIDE_PX) / 2
    narrow = half <= _MIN_SIDE_PX / 2
    low, high = np.where(narrow, center - half, box[:2]), np.where(narrow, center + half, box[2:])
    return [*(low + 1).tolist(), *high.tolist()]


def _add_text(parent: Element, key: str, text: str) -> None:
    SubElement(parent, key).text = text
