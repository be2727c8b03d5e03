"""What can be wrong with a dataset: the table of kinds, how bad each is, its cure, and what training does about it.

A new kind is one line here and one check, in ``checks/`` or where a reader meets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Severity(IntEnum):
    """How bad a problem is."""

    NOTE = 0
    HURTS = 1
    BREAKS = 2

    @property
    def words(self) -> str:
        return ("worth knowing", "hurts", "broken")[self]


class Kind(NamedTuple):
    """One kind of problem.

    of: what its places are, "image", "object" or "class".  title: what is wrong, said of several.
    cure: what ``doctor.py fix`` does, or what a person can do.  done: what is done when a split is read; "" for
    what only doctor.py looks for.
    """

    severity: Severity
    of: str
    title: str
    cure: str
    done: str = ""


NOTE, HURTS, BREAKS = Severity
OUT = "left out"
_DRAW, _WRITE = "draw them anew; fix leaves them out", "write them anew; fix leaves them out"
KINDS: dict[str, Kind] = {
    # images
    "missing_image": Kind(
        BREAKS, "image", "images are annotated, but not there", "put them back; fix leaves them out", OUT
    ),
    "unreadable_image": Kind(
        BREAKS, "image", "files cannot be read as images", "save them anew; fix leaves them out", OUT
    ),
    "broken_annotations": Kind(BREAKS, "image", "annotation files cannot be read", _WRITE, OUT),
    "malformed_image": Kind(BREAKS, "image", "images are not listed as the format wants", _WRITE, OUT),
    "doubled_image_id": Kind(
        BREAKS, "image", "images share their id with another", "give each its own; fix leaves them out", OUT
    ),
    "wrong_size": Kind(
        BREAKS,
        "image",
        "images have another size than annotated",
        "fix scales the annotations",
        OUT,
    ),
    "exif_turned": Kind(
        BREAKS, "image", "images were annotated without their EXIF rotation", "fix turns the annotations", OUT
    ),
    "truncated_image": Kind(
        BREAKS,
        "image",
        "images break off in the middle",
        "copy them anew; fix leaves them out",
    ),
    "not_annotated": Kind(
        NOTE, "image", "images have no annotations", "annotate them, also those on which nothing is", OUT
    ),
    "listed_twice": Kind(HURTS, "image", "images are listed twice", "fix keeps the one with most objects"),
    "duplicate_image": Kind(
        HURTS, "image", "images are the same as another, byte for byte", "fix keeps the one with most objects"
    ),
    "leaked_image": Kind(
        HURTS, "image", "images are the same as one of another split", "fix keeps that of test, else that of val"
    ),
    "near_duplicate": Kind(NOTE, "image", "images look like another", "look at them; copies teach little"),
    "near_leak": Kind(
        HURTS, "image", "images look like one of another split", "look at them, and move them to one split"
    ),
    "wrong_extension": Kind(NOTE, "image", "images are of another format than their suffix", "fix renames them"),
    "odd_pixels": Kind(NOTE, "image", "images are not 8-bit RGB", "none needed: they are read as 8-bit RGB, on white"),
    # objects
    "malformed": Kind(BREAKS, "object", "objects are not written as the format wants", _WRITE, OUT),
    "unknown_image": Kind(
        BREAKS, "object", "objects belong to images that are not listed", "list these; fix leaves them out", OUT
    ),
    "unknown_class": Kind(
        BREAKS, "object", "objects are of classes that are not listed", "list these; fix leaves them out", OUT
    ),
    "not_finite": Kind(BREAKS, "object", "boxes are not four finite numbers", _DRAW, OUT),
    "no_area": Kind(BREAKS, "object", "boxes have no area", _DRAW, OUT),
    "outside": Kind(BREAKS, "object", "boxes lie outside their image", _DRAW, OUT),
    "swapped_corners": Kind(
        BREAKS, "object", "boxes have a negative width or height", "fix puts the corners in order", "put in order"
    ),
    "reaches_out": Kind(
        HURTS, "object", "boxes reach out of their image", "fix clips them", "kept, training clips them"
    ),
    "few_points": Kind(BREAKS, "object", "polygons have fewer than 3 points", _DRAW, OUT),
    "rle_size": Kind(BREAKS, "object", "run-length codes are for another size of image", _WRITE, OUT),
    "bad_mask": Kind(BREAKS, "object", "masks cannot be drawn", _DRAW, OUT),
    "wrong_area": Kind(HURTS, "object", "areas are not numbers above 0", "fix computes them", "computed"),
    "self_crossing": Kind(NOTE, "object", "polygons cross themselves", "fix outlines what they fill"),
    "empty_mask": Kind(HURTS, "object", "masks have no pixel on their image", _DRAW),
    "box_mask_differ": Kind(HURTS, "object", "boxes do not fit their masks", "fix takes the box of the mask"),
    "duplicate_object": Kind(HURTS, "object", "objects are there twice", "fix keeps one"),
    "two_classes": Kind(NOTE, "object", "boxes are there twice, of two classes", "look which one is right"),
    "doubled_id": Kind(HURTS, "object", "annotation ids are used twice", "fix numbers them anew"),
    "tiny_box": Kind(NOTE, "object", "boxes are less than 2 pixels wide or high", "look for slips of the mouse"),
    "whole_image": Kind(NOTE, "object", "boxes cover their whole image", "look whether they are of an object"),
    # classes
    "no_objects": Kind(
        BREAKS, "class", "splits have no object at all", "annotate some, or split anew; fix leaves them out"
    ),
    "unused_class": Kind(NOTE, "class", "classes have no objects", "annotate some, or drop them"),
    "untrained_class": Kind(HURTS, "class", "classes are in val or test, but not in train", "split anew"),
    "other_classes": Kind(HURTS, "class", "classes have the ids of others elsewhere", "fix writes one list for all"),
    "similar_classes": Kind(HURTS, "class", "classes differ in capitals or spaces alone", "fix makes them one"),
    "odd_ids": Kind(NOTE, "class", "category ids are not 1, 2, ...", "none needed: ids are kept"),
    "imbalance": Kind(
        NOTE, "class", "classes have less than a hundredth of the objects of the largest", "annotate more of them"
    ),
}


class Place(NamedTuple):
    """Where a problem is. file: of the annotations, or the image.  where: "annotation 7", "line 3", or "".
    value: what stands there."""

    file: str
    where: str
    value: str

    def __str__(self) -> str:
        return ", ".join(part for part in (self.file, self.where) if part) + (f": {self.value}" if self.value else "")


@dataclass(frozen=True)
class Problem:
    """All of one kind in one split, and where they are.

    ids: int64 [n], the image ids or annotation ids of the places, as the kind is of images or objects; none for what
    did not become a row.
    """

    kind: str
    places: Sequence[Place]
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
