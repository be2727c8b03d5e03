"""Exporter of Pascal VOC: images in JPEGImages/, one XML file per image in Annotations/.

ImageSets/Main/SPLIT.txt lists the image names of a split without suffix. Only boxes are written; crowds are marked
``difficult``. Coordinates are the first and the last pixel, counted from 1, with two decimals if they are not whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from detect.data.exporters.export_rows import (
    MASKS,
    class_texts,
    clip_to_image,
    count_lost_area,
    count_unused_classes,
    decimals,
    image_rows,
)
from detect.data.exporters.exporter import Export, Exporter, ImageRow
from detect.data.file_listing import without_suffix

_IMAGES, _LABELS = "JPEGImages", "Annotations"
_DIGITS = 2
_MIN_SIDE_PX = 1.02  # a box of one pixel has equal coordinates, which readers take for an accidental click


def files(export: Export) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the annotation files, see ``Exporter.files``.

    An image that is in several splits with equal objects gets one file.
    """
    texts, used = class_texts(export), set[int]()
    written: set[str] = set()
    for image in image_rows(export):
        used.update(one.label for one in image.objects)
        if image.name in written:
            continue
        if len(export.splits) > 1:
            written.add(image.name)
        root = _annotation_element(image)
        for one in image.objects:
            clipped = clip_to_image(one, image.image_hw, export.losses)
            export.losses.update([MASKS] * (one.mask is not None))
            count_lost_area(one, float(np.prod(clipped.box[2:] - clipped.box[:2])), export.losses)
            _add_object(root, texts[one.label - 1], clipped.box, one.iscrowd)
        indent(root)
        yield f"{_LABELS}/{without_suffix(image.name)}.xml", [tostring(root, "utf-8").decode()]
    count_unused_classes(export, used)
    for split, rows in export.splits.items():
        yield f"ImageSets/Main/{split}.txt", (f"{without_suffix(image.name)}\n" for image in rows.without_objects())


EXPORTER = Exporter(files, image_folder=lambda split: _IMAGES, label_folder=lambda split: _LABELS)


def _annotation_element(image: ImageRow) -> Element:
    """Return the root element of an image, without objects."""
    root, name = Element("annotation"), PurePosixPath(image.name)
    height, width = image.image_hw
    _add_texts(root, folder=PurePosixPath(_IMAGES) / name.parent, filename=name.name)
    _add_texts(SubElement(root, "size"), width=width, height=height, depth=3)
    _add_texts(root, segmented=0)
    return root


def _add_object(root: Element, name: str, box: np.ndarray, difficult: bool) -> None:
    element = SubElement(root, "object")
    _add_texts(element, name=name, pose="Unspecified", truncated=0, difficult=int(difficult))
    xmin, ymin, xmax, ymax = (decimals(number, _DIGITS) for number in _coordinates(box))
    _add_texts(SubElement(element, "bndbox"), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)


def _coordinates(box: np.ndarray) -> list[float]:
    """Return the first and last pixel, counted from 1, of a box xyxy counted from 0."""
    center, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], _MIN_SIDE_PX) / 2
    narrow = half <= _MIN_SIDE_PX / 2
    low, high = np.where(narrow, center - half, box[:2]), np.where(narrow, center + half, box[2:])
    return [*(low + 1).tolist(), *high.tolist()]


def _add_texts(parent: Element, **texts: Any) -> None:
    for key, text in texts.items():
        SubElement(parent, key).text = str(text)
