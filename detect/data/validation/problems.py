"""Kinds of dataset problems: severity, description, fix, and how reading a dataset handles each.

A new kind takes one line in ``KINDS`` and one check here, in ``detect.data.quality.checks`` or in a reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Severity(IntEnum):
    """Severity of a problem.

    NOTE: harmless, or intended in some datasets.
    WARNING: training works, but the model or its metrics suffer.
    ERROR: the entry cannot be used.
    """

    NOTE = 0
    WARNING = 1
    ERROR = 2

    @property
    def label(self) -> str:
        """Lower-case name, for reports and JSON."""
        return self.name.lower()


class Kind(NamedTuple):
    """One kind of problem.

    severity: see ``Severity``.
    subject: "image", "object" or "class"; which of them a location of this kind names.
    title: plural noun phrase that names the problem; a count follows it.
    fix: what ``doctor.py fix`` does, or what a person can do.
    when_read: how reading a dataset for training handles it; "" if reading does not look for it.
    """

    severity: Severity
    subject: str
    title: str
    fix: str
    when_read: str = ""


NOTE, WARNING, ERROR = Severity
SKIPPED = "skipped"
_REDRAW = "annotate them again; doctor.py fix removes them"
_REWRITE = "export them again; doctor.py fix removes them"
# fmt: off
KINDS: dict[str, Kind] = {
    # images
    "missing_image": Kind(ERROR, "image", "missing image files",
        "restore the files; doctor.py fix removes their annotations", SKIPPED),
    "unreadable_image": Kind(ERROR, "image", "unreadable image files",
        "save the images again; doctor.py fix removes them", SKIPPED),
    "unreadable_annotations": Kind(ERROR, "image", "unreadable annotation files", _REWRITE, SKIPPED),
    "malformed_image_entry": Kind(ERROR, "image", "image entries that violate the annotation format",
        _REWRITE, SKIPPED),
    "duplicate_image_id": Kind(ERROR, "image", "images with the id of another image",
        "give each image its own id; doctor.py fix removes them", SKIPPED),
    "image_size_mismatch": Kind(ERROR, "image", "images whose size differs from the annotated size",
        "doctor.py fix scales the annotations if the aspect ratios agree, and removes the image otherwise", SKIPPED),
    "exif_rotation_ignored": Kind(WARNING, "image", "images annotated without their EXIF rotation",
        "doctor.py fix rotates the annotations", "read with rotated annotations"),
    "exif_size_ignored": Kind(NOTE, "image", "image sizes stated without the EXIF rotation of the image",
        "none needed; doctor.py fix writes the size of the upright image", "read as annotated upright"),
    "exif_rotation_unclear": Kind(NOTE, "image", "image sizes stated without the EXIF rotation, with objects that fit"
        " either way", "look at them with doctor.py preview; doctor.py fix writes the size of the upright image",
        "read as annotated upright"),
    "truncated_image": Kind(ERROR, "image", "truncated image files",
        "copy the files again; doctor.py fix removes them",
        "a JPEG with at most a quarter of its rows missing is used; other images are left out"),
    "unannotated_image": Kind(NOTE, "image", "images without annotations",
        "annotate them, also images without objects", SKIPPED),
    "renamed_image": Kind(NOTE, "image", "image names that differ from the file",
        "none needed, if the files are the right ones; otherwise rename them", "matched to the only file that fits"),
    "image_listed_twice": Kind(WARNING, "image", "images listed more than once",
        "doctor.py fix writes one entry with the objects of all", "read as one image with the objects of all entries"),
    "duplicate_image": Kind(WARNING, "image", "byte-identical images",
        "doctor.py fix keeps the image with the most objects"),
    "leaked_image": Kind(WARNING, "image", "images that also belong to another split",
        "doctor.py fix keeps the image in test, or else in val"),
    "near_duplicate": Kind(NOTE, "image", "near-duplicate images",
        "compare them; near-duplicates add little to training"),
    "near_duplicate_leak": Kind(WARNING, "image", "near-duplicates of images in another split",
        "compare them, and move them into one split"),
    "sibling_leak": Kind(WARNING, "image", "copies of an image, or frames of a video, that another split also has",
        "move all images of one source into one split; if splits.yaml holds the splits, delete it to split again"),
    "wrong_extension": Kind(NOTE, "image", "images whose file extension differs from their format",
        "doctor.py fix renames them"),
    "few_gray_levels": Kind(WARNING, "image", "16-bit images that use few gray levels",
        "doctor.py fix --rescale-16bit writes 8-bit copies of gray images that use all levels"),
    "not_8bit_rgb": Kind(NOTE, "image", "images that are not 8-bit RGB",
        "none needed: they are converted to 8-bit RGB on white"),
    "no_header": Kind(NOTE, "image", "annotation files without a header line",
        "none needed, if the columns are the right ones; otherwise add a header line",
        "read with the columns of a known program"),
    "no_class_column": Kind(NOTE, "image", "annotation files without classes",
        "none needed, if there is one class; otherwise add a column of classes",
        "read with one class for all objects"),
    "fractional_boxes": Kind(NOTE, "image", "annotation files whose coordinates do not exceed 1",
        "none needed", "read as fractions of the image size"),
    "no_object": Kind(NOTE, "image", "entries that say that an image has no objects",
        "none needed", "read as images without objects"),
    "renumbered_ids": Kind(NOTE, "image", "ids that are not whole numbers",
        "none needed", "replaced by numbers"),
    "assumed_instances": Kind(NOTE, "image", "masks without a list of their objects",
        "look at them with doctor.py preview", "read with each value or file as an object"),
    "embedded_image": Kind(NOTE, "image", "images that only their annotation files hold",
        "none needed", "unpacked into datasets/unpacked"),
    # objects
    "malformed_object": Kind(ERROR, "object", "objects that violate the annotation format", _REWRITE, SKIPPED),
    "unknown_image": Kind(ERROR, "object", "objects of unlisted images",
        "list the images; doctor.py fix removes the objects", SKIPPED),
    "unknown_class": Kind(ERROR, "object", "objects of unlisted classes",
        "list the classes; doctor.py fix removes the objects", SKIPPED),
    "no_class": Kind(ERROR, "object", "objects without exactly one class",
        "give each object one class; doctor.py fix removes them", SKIPPED),
    "non_finite_box": Kind(ERROR, "object", "boxes that are not four finite numbers", _REDRAW, SKIPPED),
    "zero_area_box": Kind(ERROR, "object", "zero-area boxes", _REDRAW, SKIPPED),
    "box_outside_image": Kind(ERROR, "object", "boxes outside their image", _REDRAW, SKIPPED),
    "inverted_box": Kind(ERROR, "object", "boxes with negative width or height",
        "doctor.py fix orders the coordinates", "coordinates ordered"),
    "box_exceeds_image": Kind(WARNING, "object", "boxes that extend beyond their image",
        "doctor.py fix clips them", "kept (training clips them)"),
    "too_few_points": Kind(ERROR, "object", "polygons with fewer than 3 points", _REDRAW, SKIPPED),
    "rle_size_mismatch": Kind(ERROR, "object", "RLE masks of another image size", _REWRITE, SKIPPED),
    "invalid_mask": Kind(ERROR, "object", "invalid masks", _REDRAW, SKIPPED),
    "rotated_box": Kind(NOTE, "object", "rotated boxes",
        "none needed, if upright boxes are wanted", "read as the upright box around the object, and as a polygon"),
    "box_without_polygon": Kind(WARNING, "object", "boxes with a polygon of fewer than 3 points",
        "draw the polygons again", "read as boxes, whose outlines are the masks"),
    "keypoints": Kind(NOTE, "object", "objects with keypoints",
        "none needed, if boxes and masks are wanted", "read without their keypoints"),
    "corner_label": Kind(NOTE, "object", "labels with four corners",
        "none needed", "read as polygons, with the upright boxes around them"),
    "extra_columns": Kind(NOTE, "object", "lines with a confidence or a track id after the coordinates",
        "check that these are annotations, not predictions", "read without these columns"),
    "shape_without_area": Kind(NOTE, "object", "points, lines and other shapes without an area",
        "none needed, if these are no objects; otherwise draw boxes or polygons around them", "left out"),
    "background_shape": Kind(NOTE, "object", "shapes that mark background or areas to ignore",
        "none needed", "left out"),
    "invalid_area": Kind(WARNING, "object", "areas that are not positive numbers",
        "doctor.py fix computes them", "computed"),
    "self_intersection": Kind(NOTE, "object", "self-intersecting polygons",
        "doctor.py fix replaces them by the contour of the filled area"),
    "empty_mask": Kind(WARNING, "object", "masks without a pixel inside their image", _REDRAW),
    "box_mask_mismatch": Kind(WARNING, "object", "boxes that do not fit their masks",
        "doctor.py fix replaces the box by that of the mask"),
    "duplicate_object": Kind(WARNING, "object", "duplicate objects", "doctor.py fix keeps one of them"),
    "conflicting_classes": Kind(NOTE, "object", "equal boxes with different classes", "check which class is right"),
    "duplicate_annotation_id": Kind(WARNING, "object", "annotation ids used more than once",
        "doctor.py fix assigns new ids"),
    "tiny_box": Kind(NOTE, "object", "boxes less than 2 pixels wide or high", "check for accidental clicks"),
    "full_image_box": Kind(NOTE, "object", "boxes that cover their whole image", "check that they mark an object"),
    # classes
    "split_without_objects": Kind(ERROR, "class", "splits without objects",
        "annotate objects, or split the dataset again; doctor.py fix removes the split"),
    "class_attribute": Kind(NOTE, "class", "attributes that are classes themselves",
        "none needed", "read as classes"),
    "dropped_category": Kind(NOTE, "class", "categories that are not classes",
        "none needed", "left out"),
    "only_crowds": Kind(ERROR, "class", "splits whose objects are all crowds, which are not trained on",
        "if each is one object, as a brush mask of CVAT is, doctor.py fix --iscrowd ignore makes them objects"),
    "many_crowds": Kind(WARNING, "class", "splits whose objects are mostly crowds, which are not trained on",
        "if each is one object, as a brush mask of CVAT is, doctor.py fix --iscrowd ignore makes them objects"),
    "unused_class": Kind(NOTE, "class", "classes without objects", "annotate objects, or remove the class"),
    "class_not_in_train": Kind(WARNING, "class", "classes in val or test without objects in train",
        "split the dataset again"),
    "category_id_conflict": Kind(WARNING, "class", "classes whose category ids mean other classes in another split",
        "doctor.py fix writes one class list for all splits"),
    "similar_class_names": Kind(WARNING, "class", "class names that differ only in case or separators",
        "doctor.py fix merges the classes"),
    "instance_numbers": Kind(WARNING, "class", "classes that seem to number the objects of each image",
        "doctor.py fix --merge-suffixes makes each group one class"),
    "numbered_classes": Kind(NOTE, "class", "groups of classes whose names differ by a number alone",
        "none needed, if the numbers tell kinds of objects apart; otherwise merge them in a dataset description"),
    "stuck_box": Kind(NOTE, "class", "boxes that stay in one place on most images while others move",
        "check them: remove those of a track whose end was not set; keep those of an object that does not move"),
    "irregular_category_ids": Kind(NOTE, "class", "category ids that are not 1, 2, ...",
        "none needed: category ids are kept"),
    "class_imbalance": Kind(NOTE, "class", "classes with less than 1 % of the objects of the largest class",
        "annotate more objects"),
}
# fmt: on


class Location(NamedTuple):
    """Where a problem is.

    file: annotation file or image; a class name for problems of classes.
    entry: position inside the file, such as "annotation 7" or "line 3"; or "".
    value: the value found there, or an explanation; or "".
    """

    file: str
    entry: str
    value: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, self.entry) if part)
        return where + (f": {self.value}" if self.value else "")


@dataclass(frozen=True)
class Problem:
    """All problems of one kind in one split.

    kind: a key of ``KINDS``.
    locations: one location per problem.
    ids: int64 [n], image ids or annotation ids of the locations, depending on the subject of the kind. Empty for
        entries that never became a row of the table.
    """

    kind: str
    locations: Sequence[Location]
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
