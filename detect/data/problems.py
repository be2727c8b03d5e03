"""What can be wrong with a data set: the table of kinds, and what is done about each when a split is read.

A new kind is one line here and one check, in ``checks/`` or where a reader meets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of problem.

    of: what its places are, "picture" or "object".  title: what is wrong, said of several.  done: what is done.
    """

    of: str
    title: str
    done: str


OUT = "left out"
KINDS: dict[str, Kind] = {
    "missing_picture": Kind("picture", "pictures are annotated, but not there", OUT),
    "unreadable_picture": Kind("picture", "files cannot be read as pictures", OUT),
    "broken_annotations": Kind("picture", "annotation files cannot be read", OUT),
    "not_annotated": Kind("picture", "pictures have no annotations", OUT),
    "malformed_picture": Kind("picture", "pictures are not listed as the format wants", OUT),
    "doubled_image_id": Kind("picture", "pictures share their id with another", OUT),
    "wrong_size": Kind("picture", "pictures have another size than annotated", OUT),
    "exif_turned": Kind("picture", "pictures were annotated without their EXIF rotation", OUT),
    "malformed": Kind("object", "objects are not written as the format wants", OUT),
    "unknown_picture": Kind("object", "objects belong to pictures that are not listed", OUT),
    "unknown_class": Kind("object", "objects are of classes that are not listed", OUT),
    "not_finite": Kind("object", "boxes are not four finite numbers", OUT),
    "no_area": Kind("object", "boxes have no area", OUT),
    "outside": Kind("object", "boxes lie outside their picture", OUT),
    "swapped_corners": Kind("object", "boxes have a negative width or height", "put in order"),
    "reaches_out": Kind("object", "boxes reach out of their picture", "clipped in training"),
    "few_points": Kind("object", "polygons have fewer than 3 points", OUT),
    "rle_size": Kind("object", "run-length codes are for another size of picture", OUT),
    "bad_mask": Kind("object", "masks cannot be drawn", OUT),
    "wrong_area": Kind("object", "areas are not numbers above 0", "computed"),
}


class Place(NamedTuple):
    """Where a problem is. file: of the annotations, or the picture.  where: "annotation 7", "line 3", or "".
    value: what stands there."""

    file: str
    where: str
    value: str

    def __str__(self) -> str:
        return ", ".join(part for part in (self.file, self.where) if part) + (f": {self.value}" if self.value else "")


@dataclass(frozen=True)
class Problem:
    """All of one kind in one split, and where they are."""

    kind: str
    places: Sequence[Place]
