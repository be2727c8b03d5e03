"""What exporters share: images with their objects one after another, and what a format cannot hold."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detect import progress
from detect.data.columns import NONE
from detect.data.table import Table
from detect.errors import UsageError
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.masks import Polygons, Rle
from detect.structures.polygons import one_outline

# The losses that several formats have, in words.
MASKS, CROWDS, AREAS, CATEGORY_IDS = "masks", "crowds", "areas", "category ids"
BOXES = "boxes other than those of their masks"
OUTSIDE = "parts of boxes outside their image"
UNUSED = "classes without objects"
OBJECTS_WITHOUT_MASK = "objects without masks, which come back as rectangles"

Parts = Mapping[str, Table]
Names = Mapping[str, Sequence[str]]

_MANY = 5000  # images from which on a bar is shown
_ROUNDING_PX = 0.5  # of sides; from there on they are others
_ROUNDING_AREA = 0.01  # a share, likewise


@dataclass(frozen=True)
class ExportLoss:
    """What a format cannot hold, as a noun, and of how many that is, over all splits.

    Numbers that only tell images or objects of one file apart, image and annotation ids, are no loss.
    """

    what: str
    count: int


class AnnotatedObject(NamedTuple):
    """One object. box: float64 [4] xyxy in pixels.  area: px², as annotated."""

    label: int
    box: np.ndarray
    mask: Polygons | Rle | None
    area: float
    iscrowd: bool


class Image(NamedTuple):
    """name: in the new dataset.  path: of the image as it is."""

    split: str
    name: str
    path: Path
    image_hw: tuple[int, int]
    things: list[AnnotatedObject]


def images(parts: Parts, names: Names) -> Iterator[Image]:
    """All images of all splits, in their order."""
    count = sum(map(len, parts.values()))
    with progress.bar(total=count, desc="writing annotations", disable=count < _MANY) as bar:
        for split, table in parts.items():
            for i, name in zip(range(len(table)), names[split], strict=True):
                height, width = table.image_hw[i].tolist()
                yield Image(split, name, table.path(i), (height, width), _things(table, i))
                bar.update()


def _things(table: Table, image: int) -> list[AnnotatedObject]:
    return [
        AnnotatedObject(
            label=int(table.labels[row]),
            box=table.boxes[row],
            mask=mask_of(table, row),
            area=float(table.areas[row]),
            iscrowd=bool(table.iscrowd[row]),
        )
        for row in range(int(table.object_starts[image]), int(table.object_starts[image + 1]))
    ]


def mask_of(table: Table, row: int) -> Polygons | Rle | None:
    """The mask of an object, where it has one."""
    mask = int(table.mask_rows[row])
    return None if table.masks.kinds[mask] == NONE else table.masks[mask]


def as_one_polygon(thing: AnnotatedObject, image_hw: tuple[int, int], *, cut: bool) -> tuple[list[float], list[str]]:
    """The outline for a format with one polygon an object, [] where the box has to do, and what is lost by it."""
    polygon = [] if thing.mask is None else one_outline(thing.mask, image_hw, cut=cut)
    if not polygon:
        area = float(np.prod(thing.box[2:] - thing.box[:2]))
        return [], [MASKS] * (thing.mask is not None) + lost_area(thing, area)
    rle = masks.from_coco(thing.mask, image_hw)
    area = masks.area(rle)
    points = np.reshape(polygon, (-1, 2))
    bounds = np.concatenate([points.min(axis=0), points.max(axis=0)]), masks.box(rle)  # readers take one or the other
    off = min(np.abs(box - thing.box).max() for box in bounds)
    return polygon, [BOXES] * bool(off > _ROUNDING_PX) + lost_area(thing, area)


def lost_area(thing: AnnotatedObject, area: float) -> list[str]:
    """AREAS where the annotated area is another than ``area``, which a reader will compute."""
    return [AREAS] * (abs(thing.area - area) > max(1.0, _ROUNDING_AREA * thing.area))


def inside(thing: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[AnnotatedObject, list[str]]:
    """With its box cut at the edges of the image, and OUTSIDE where that is more than rounding."""
    height, width = image_hw
    box = np.clip(thing.box, 0, [width, height, width, height])
    return thing._replace(box=box), [OUTSIDE] * bool(np.abs(box - thing.box).max() > _ROUNDING_PX)


def lost_ids(class_names: ClassNames) -> dict[str, int]:
    """CATEGORY_IDS where they are not 1..K already, as for formats without ids they are read."""
    anew = class_names.ids != tuple(range(1, len(class_names) + 1))
    return {CATEGORY_IDS: len(class_names)} if anew else {}


def unused(parts: Parts, class_names: ClassNames) -> dict[str, int]:
    """UNUSED, of formats that name a class with its objects alone."""
    used = {label for table in parts.values() for label in np.unique(table.labels).tolist()}
    return {UNUSED: len(class_names) - len(used)}


def losses(counts: Mapping[str, int]) -> list[ExportLoss]:
    return [ExportLoss(what, count) for what, count in counts.items() if count]


def text_names(class_names: ClassNames) -> list[str]:
    """The class names in the order of labels, as a format can hold them whose readers strip texts. UsageError where
    two would become one, or one nothing."""
    found: dict[str, str] = {}
    for name in class_names.names:
        text = " ".join(printable(name).split())
        if not text or text in found:
            other = f"apart from '{found[text]}'" if text in found else "since it is empty"
            raise UsageError(f"the class '{printable(name)}' cannot be told {other} in this format; rename it")
        found[text] = name
    return list(found)


def printable(text: str) -> str:
    """With ``_`` for control characters and for halves of letters, which neither XML nor UTF-8 takes."""
    return "".join("_" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def decimals(value: float, digits: int) -> str:
    """Without zeros at the end: ``12``, ``0.25``."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
