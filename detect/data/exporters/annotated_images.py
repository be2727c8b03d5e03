"""What several exporters share: iteration over images with their objects, and detection of lost information."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detect import progress
from detect.data.columns import NO_MASK
from detect.data.exporters.exporter import ExportLoss, Names, Parts
from detect.data.table import Table
from detect.errors import UsageError
from detect.structures import masks
from detect.structures.class_names import ClassNames
from detect.structures.masks import Polygons, Rle
from detect.structures.polygons import single_polygon

# Information that several formats cannot hold.
MASKS, CROWDS, AREAS, CATEGORY_IDS = "masks", "crowds", "areas", "category ids"
MASK_BOX_DIFFERENCES = "boxes that differ from those of their masks"
BOX_PARTS_OUTSIDE = "parts of boxes outside their image"
UNUSED_CLASSES = "classes without objects"
OBJECTS_WITHOUT_MASK = "objects without a mask (they become rectangular masks)"

_MANY = 5000  # images; larger datasets show a progress bar
_BOX_TOLERANCE_PX = 0.5  # smaller differences of box edges are rounding
_AREA_TOLERANCE = 0.01  # relative, likewise


class AnnotatedObject(NamedTuple):
    """One annotated object.

    Attributes:
        label: int, 1..K.
        box: float64 [4], xyxy in absolute pixels.
        mask: polygons, RLE or None.
        area: float, square pixels, as annotated.
        iscrowd: bool.
    """

    label: int
    box: np.ndarray
    mask: Polygons | Rle | None
    area: float
    iscrowd: bool


class AnnotatedImage(NamedTuple):
    """One image with its objects.

    Attributes:
        split: str.
        name: str, name in the new dataset.
        path: Path, file of the image in the original dataset.
        image_hw: (height, width) in pixels.
        objects: list of AnnotatedObject.
    """

    split: str
    name: str
    path: Path
    image_hw: tuple[int, int]
    objects: list[AnnotatedObject]


def annotated_images(parts: Parts, names: Names) -> Iterator[AnnotatedImage]:
    """Yield all images of all splits in their order, with a progress bar for many."""
    count = sum(map(len, parts.values()))
    with progress.bar(total=count, desc="writing annotations", disable=count < _MANY) as bar:
        for split, table in parts.items():
            for i, name in zip(range(len(table)), names[split], strict=True):
                height, width = table.image_hw[i].tolist()
                yield AnnotatedImage(split, name, table.path(i), (height, width), _objects(table, i))
                bar.update()


def _objects(table: Table, image: int) -> list[AnnotatedObject]:
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
    """Return the mask of an object, None if it has none."""
    mask = int(table.mask_rows[row])
    return None if table.masks.kinds[mask] == NO_MASK else table.masks[mask]


def as_one_polygon(
    annotated: AnnotatedObject, image_hw: tuple[int, int], *, cut: bool
) -> tuple[list[float], list[str]]:
    """Return one polygon [x0, y0, ...] for the mask of an object, and what it cannot hold.

    The polygon is [] when only the box can be written.

    cut: whether to clip the polygon to the image.
    """
    polygon = [] if annotated.mask is None else single_polygon(annotated.mask, image_hw, clip=cut)
    if not polygon:
        area = float(np.prod(annotated.box[2:] - annotated.box[:2]))
        return [], [MASKS] * (annotated.mask is not None) + lost_area(annotated, area)
    rle = masks.from_coco(annotated.mask, image_hw)
    area = masks.area(rle)
    points = np.reshape(polygon, (-1, 2))
    # Readers compute the box from the vertices or from the pixels.
    boxes = np.concatenate([points.min(axis=0), points.max(axis=0)]), masks.box(rle)
    difference = min(np.abs(box - annotated.box).max() for box in boxes)
    lost_box = [MASK_BOX_DIFFERENCES] * bool(difference > _BOX_TOLERANCE_PX)
    return polygon, lost_box + lost_area(annotated, area)


def lost_area(annotated: AnnotatedObject, area: float) -> list[str]:
    """Return [AREAS] if the annotated area differs from ``area``, which a reader will compute, else []."""
    return [AREAS] * (abs(annotated.area - area) > max(1.0, _AREA_TOLERANCE * annotated.area))


def clip_to_image(annotated: AnnotatedObject, image_hw: tuple[int, int]) -> tuple[AnnotatedObject, list[str]]:
    """Return the object with its box clipped to the image, and [BOX_PARTS_OUTSIDE] if that is more than rounding."""
    height, width = image_hw
    box = np.clip(annotated.box, 0, [width, height, width, height])
    lost = [BOX_PARTS_OUTSIDE] * bool(np.abs(box - annotated.box).max() > _BOX_TOLERANCE_PX)
    return annotated._replace(box=box), lost


def lost_category_ids(class_names: ClassNames) -> dict[str, int]:
    """Return {CATEGORY_IDS: K} unless the ids are 1..K, as readers of formats without ids number the classes."""
    renumbered = class_names.ids != tuple(range(1, len(class_names) + 1))
    return {CATEGORY_IDS: len(class_names)} if renumbered else {}


def unused_classes(parts: Parts, class_names: ClassNames) -> dict[str, int]:
    """Return {UNUSED_CLASSES: number}, for formats that name a class only with its objects."""
    used = {label for table in parts.values() for label in np.unique(table.labels).tolist()}
    return {UNUSED_CLASSES: len(class_names) - len(used)}


def export_losses(counts: Mapping[str, int]) -> list[ExportLoss]:
    """Return the losses with a count above 0."""
    return [ExportLoss(what, count) for what, count in counts.items() if count]


def stripped_names(class_names: ClassNames) -> list[str]:
    """Return the class names in label order, for formats whose readers strip spaces.

    Raises UsageError when a name becomes empty or two names become equal.
    """
    original: dict[str, str] = {}
    for name in class_names.names:
        text = " ".join(printable(name).split())
        if not text:
            raise UsageError(f"class '{printable(name)}': this format needs a name with visible characters; rename it")
        if text in original:
            raise UsageError(
                f"classes '{printable(name)}' and '{original[text]}' would be equal in this format; rename one"
            )
        original[text] = name
    return list(original)


def printable(text: str) -> str:
    """Return text with ``_`` for control characters and unpaired surrogates, which XML and UTF-8 do not allow."""
    return "".join("_" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def decimals(value: float, digits: int) -> str:
    """Return a number with at most ``digits`` decimals and without trailing zeros: ``12``, ``0.25``."""
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
