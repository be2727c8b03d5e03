"""Functions that several exporters share: they iterate over images with objects and count lost information."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from detect import progress
from detect.data.exporters.exporter import Export, ImageRow, ObjectRow
from detect.errors import UsageError
from detect.structures import masks
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


def image_rows(export: Export) -> Iterator[ImageRow]:
    """Yield all images of all splits in their order, with a progress bar for many."""
    with progress.bar(total=sum(map(len, export.splits.values())), desc="writing annotations", min_items=_MANY) as bar:
        for rows in export.splits.values():
            for image in rows:
                yield image
                bar.update()


def one_polygon(one: ObjectRow, image_hw: tuple[int, int], losses: Counter[str], *, cut: bool) -> list[float]:
    """Return one polygon [x0, y0, ...] for the mask of an object; [] when only the box can be written.

    losses: counter to which information that the polygon or the box cannot hold is added.
    cut: whether to clip the polygon to the image.
    """
    polygon = [] if one.mask is None else single_polygon(one.mask, image_hw, clip=cut)
    if not polygon:
        losses.update([MASKS] * (one.mask is not None))
        count_lost_area(one, float(np.prod(one.box[2:] - one.box[:2])), losses)
        return []
    count_mask_differences(one, [polygon], image_hw, losses)
    return polygon


def count_mask_differences(
    one: ObjectRow, polygons: Sequence[Sequence[float]], image_hw: tuple[int, int], losses: Counter[str]
) -> None:
    """Count what a reader will compute differently for an object whose mask becomes ``polygons``: box and area."""
    rle = masks.from_coco(one.mask, image_hw)
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    # Readers compute the box from the vertices or from the pixels.
    boxes = np.concatenate([points.min(axis=0), points.max(axis=0)]), masks.box(rle)
    if min(np.abs(box - one.box).max() for box in boxes) > _BOX_TOLERANCE_PX:
        losses[MASK_BOX_DIFFERENCES] += 1
    count_lost_area(one, masks.area(rle), losses)


def count_lost_area(one: ObjectRow, area: float, losses: Counter[str]) -> None:
    """Count a loss if the annotated area differs from ``area``, which a reader will compute."""
    if abs(one.area - area) > max(1.0, _AREA_TOLERANCE * one.area):
        losses[AREAS] += 1


def clip_to_image(one: ObjectRow, image_hw: tuple[int, int], losses: Counter[str]) -> ObjectRow:
    """Return the object with its box clipped to the image; count a loss if that changes more than rounding."""
    box = np.clip(one.box, 0, np.tile(image_hw[::-1], 2))
    if np.abs(box - one.box).max() > _BOX_TOLERANCE_PX:
        losses[BOX_PARTS_OUTSIDE] += 1
    return one._replace(box=box)


def count_lost_category_ids(export: Export) -> None:
    """Count the category ids as losses unless they are 1..K, as readers number classes in formats without ids."""
    class_names = export.class_names
    if class_names.ids != tuple(range(1, len(class_names) + 1)):
        export.losses[CATEGORY_IDS] = len(class_names)


def count_unused_classes(export: Export, used: Collection[int]) -> None:
    """Count the classes without objects as losses, for formats without a list of classes.

    used: labels of all objects."""
    if len(used) < len(export.class_names):
        export.losses[UNUSED_CLASSES] = len(export.class_names) - len(used)


def class_texts(export: Export) -> list[str]:
    """Return the class names in label order, as formats without a list of classes can hold them.

    Control characters become ``_`` and runs of spaces one space, since readers of these formats strip spaces.

    Category ids count as losses.
    Raises UsageError when a name becomes empty or two names become equal.
    """
    count_lost_category_ids(export)
    original: dict[str, str] = {}
    for name in export.class_names.names:
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
