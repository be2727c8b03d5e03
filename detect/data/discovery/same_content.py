"""Several annotations of the same images: whether they agree, and which of them to use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from detect.data.discovery.image_folders import Source
from detect.data.file_listing import replace_folder
from detect.data.readers import get_reader
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.cleaning import clean
from detect.structures.class_names import ClassNames
from detect.text import counted

_TOLERANCE_PX = 2.0  # between equal boxes: formats round, and some count pixels from 1
_TOLERANCE = 0.01  # of the long side of the image, for fractions with few digits


Objects = tuple[list[str], np.ndarray, tuple[int, int]]
"""Objects of an image: class names, boxes float32 [n, 4] xyxy in pixels, and (height, width) of the image."""


class ContradictionError(Exception):
    """Raised if annotations of the same images differ; the message names the first difference."""


@dataclass(frozen=True, eq=False)
class Content:
    """What one or several annotation files say.

    label: name in messages: a format or a path.
    objects: {absolute image path: its objects}.
    has_masks: whether there is an object with a mask.
    classes_listed: whether the format lists the classes.
    """

    label: str
    objects: dict[str, Objects]
    has_masks: bool
    classes_listed: bool

    @classmethod
    def of(
        cls, label: str, format: str, folder: Path, sources: Iterable[Source], classes: Sequence[str] | None
    ) -> Content:
        """Read the annotations of ``sources``. Raises DataError for annotations that cannot be read."""
        objects: dict[str, Objects] = {}
        has_masks = listed = False
        for source in sources:
            split = get_reader(format).parse(folder / source.images, folder / source.annotations, classes)
            split = split.with_names_on_disk()
            objects |= _objects_of(split)
            has_masks = has_masks or bool((~split.table.lacks_mask).any())
            listed = listed or split.classes_listed
        return cls(label, objects, has_masks, listed)


def best_content(contents: Sequence[Content]) -> tuple[int, str]:
    """Return the index of the annotations to use of several that agree, and why.

    The one with the most images is used, else one with masks, else one that lists its classes, else the first.
    Raises ContradictionError if two of them differ on an image, or none has all images of the others.
    """
    for i, one in enumerate(contents):
        for other in contents[i + 1 :]:
            if difference := _first_difference(one, other):
                raise ContradictionError(difference)
    every = set().union(*(content.objects for content in contents))
    complete = [content for content in contents if len(content.objects) == len(every)]
    if not complete:
        raise ContradictionError("each of them has images that another lacks")
    best = max(complete, key=lambda content: (content.has_masks, content.classes_listed))
    others = [content for content in contents if content is not best]
    if len(complete) < len(contents):
        reason = f"has all {len(every)} images"
    elif best.has_masks and not all(content.has_masks for content in others):
        reason = "has masks"
    elif best.classes_listed and not all(content.classes_listed for content in others):
        reason = "lists the classes"
    else:
        reason = "comes first"
    return contents.index(best), reason


def prefer_usual_labels(
    files: Sequence[PurePosixPath], images: Sequence[PurePosixPath]
) -> tuple[list[PurePosixPath], str]:
    """Return the label files of YOLO without those that its own programs ignore, and a remark on these.

    Of several files for one image, its programs read the one beside the image, or in the folder ``labels`` in place of
    the last folder ``images`` of the path.
    """
    usual = {label for image in images for label in _usual_labels(image)}.intersection(files)
    stems = {file.stem for file in usual}
    kept = [file for file in files if file in usual or file.stem not in stems]
    ignored = sorted({str(file.parent) for file in set(files) - set(kept)})
    number = counted(len(files) - len(kept), "other label file")
    return kept, f"ignored {number} in {', '.join(ignored)}" if ignored else ""


def _usual_labels(image: PurePosixPath) -> Iterable[PurePosixPath]:
    if "images" in image.parent.parts:
        yield replace_folder(image.parent, "images", "labels") / f"{image.stem}.txt"
    else:
        yield image.with_suffix(".txt")


def _objects_of(split: UnvalidatedSplit) -> dict[str, Objects]:
    table, _ = clean(split)
    names = ClassNames(split.names) if split.names else None
    found = {}
    for i, record in enumerate(table):
        classes = [names.name(label) for label in record.labels.tolist()] if names else []
        found[str(table.path(i).resolve())] = (classes, record.boxes, record.image_hw)
    return found


def _first_difference(one: Content, other: Content) -> str:
    """Return the first difference of two annotations on an image that both have, "" if there is none."""
    for path in sorted(set(one.objects) & set(other.objects)):
        (classes, boxes, hw), (other_classes, other_boxes, _) = one.objects[path], other.objects[path]
        name = Path(path).name
        if len(classes) != len(other_classes):
            number = counted(len(classes), "object")
            return f"{name} has {number} in {one.label} and {len(other_classes)} in {other.label}"
        tolerance = max(_TOLERANCE_PX, _TOLERANCE * max(hw))
        free = list(range(len(other_classes)))
        for row, (label, box) in enumerate(zip(classes, boxes, strict=True)):
            near = [i for i in free if np.abs(other_boxes[i] - box).max() <= tolerance]
            same = [i for i in near if other_classes[i].casefold() == label.casefold()]
            if not same:
                values = ", ".join(f"{value:g}" for value in boxes[row].tolist())
                what = f"the class {other_classes[near[0]]}" if near else "no such box"
                return f"{name} has {label} at ({values}) in {one.label}, and {what} in {other.label}"
            free.remove(min(same, key=lambda i: float(np.abs(other_boxes[i] - box).max())))
    return ""
