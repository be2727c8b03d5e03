"""From what the files say to what can be trained on: the policy for plainly broken data.

Images and objects of the kinds whose ``done`` is "left out" are, but of an object with several polygons only
those that cannot be drawn; swapped corners are put in order; a box that is not given is its mask's, an area that is
none is computed. Nothing else is changed: boxes that reach out stay as they are in the ground truth that models are measured
against, and training clips them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detect import progress
from detect.data.columns import MaskBuilder
from detect.data.quality.checks.annotations import Found, check_boxes, check_objects, good_polygons
from detect.data.quality.checks.image_headers import check_headers, read_headers, with_sizes
from detect.data.quality.problems import KINDS, OUT, Place, Problem
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.errors import DataError
from detect.structures import masks
from detect.text import first_few

_MANY = 20_000  # masks from which on a bar is shown while they are drawn


def clean(draft: UnvalidatedSplit) -> tuple[Table, list[Problem]]:
    """A table whose records all fit together, and everything that was found wrong on the way."""
    problems = list(_of_rejects(draft))
    lost = [r.image for r in draft.skipped if KINDS[r.kind].of == "image" and r.image >= 0]
    draft = draft.take_images(np.setdiff1d(np.arange(len(draft.table)), lost))
    headers = read_headers(draft.table)
    draft = replace(draft, table=with_sizes(draft.table, headers))
    found = list(check_headers(draft.table, headers))
    problems += [of_images(draft.table, one) for one in found]
    draft = draft.take_images(np.flatnonzero(_kept(len(draft.table), found)))

    found = list(check_objects(draft.table))
    problems += [of_objects(draft, one) for one in found]
    draft = replace(draft, table=_mended(draft.table, found))
    hollow = [one for one in check_boxes(draft.table) if KINDS[one.kind].done == OUT]  # masks that enclose nothing
    problems += [of_objects(draft, one) for one in hollow]
    table = draft.table.take_objects(_kept(len(draft.table.labels), hollow))
    return table, [problem for problem in problems if problem.places]


def told(problems: Sequence[Problem], draft: UnvalidatedSplit) -> Iterator[str]:
    """A line for the user about what was done, if anything was.

    DataError where most of the images are not there: then it is the folder that is wrong.
    """
    for problem in problems:
        count, all_images = len(problem.ids), len(draft.table)  # without files that nobody knows the images of
        if problem.kind == "missing_image" and count > all_images / 2:
            missing = first_few(draft.table.folder / place.file for place in problem.places[-count:])
            raise DataError(f"{draft.annotations} names {count} of {all_images} images that are not there: {missing}")
    if problems:
        what = "; ".join(
            f"{KINDS[p.kind].title}: {len(p.places)} {KINDS[p.kind].done or 'kept'} ({first_few(p.places, 3)})"
            for p in problems
        )
        yield f"{draft.annotations}: {what}"


def check_left(problems: Sequence[Problem], draft: UnvalidatedSplit, table: Table) -> None:
    """DataError where most of the objects on the images of ``table``, which ``clean`` made of ``draft``, are not in
    it: then what wrote the file is wrong."""
    images = np.isin(draft.table.image_ids, table.image_ids)
    never_read = sum(KINDS[r.kind].of == "object" and r.image >= 0 and images[r.image] for r in draft.skipped)
    there = int(images[draft.table.images].sum()) + int(never_read)
    if (lost := there - len(table.labels)) > there / 2:
        kinds = (p for p in problems if KINDS[p.kind].of == "object" and KINDS[p.kind].done == OUT)
        what = "; ".join(f"{KINDS[p.kind].title} ({first_few(p.places, 3)})" for p in kinds)
        raise DataError(
            f"{draft.annotations}: {lost} of {there} objects are of no use: {what}; doctor.py fix leaves them out"
        )


def told_of_masks(table: Table, annotations: Path) -> Iterator[str]:
    """A line where masks are given up everywhere, since some objects have none and a Mask R-CNN needs all."""
    bare = table.lacks_mask
    if bare.any() and not bare.all():
        images = len(np.unique(table.images[bare]))
        yield f"{annotations}: {images} images have objects without a mask, so no masks are used"


def _mended(table: Table, found: Sequence[Found]) -> Table:
    """Without what is left out, and with every box and area."""
    of_polygons = ("few_points", "bad_mask")
    rows = [row for one in found if one.kind in of_polygons for row in one.rows.tolist()]
    drawn = {row: good_polygons(table, row) for row in rows}
    trimmed = np.array([row for row, polygons in drawn.items() if polygons], np.int64)
    builder = MaskBuilder()
    for row in trimmed.tolist():
        builder.add(drawn[row])
    table = table.with_masks(trimmed, builder.finish())

    kept = _kept(len(table.labels), [one for one in found if one.kind not in of_polygons])
    kept[[row for row, polygons in drawn.items() if not polygons]] = False
    boxes, areas = table.boxes.copy(), table.areas.copy()
    for one in found:
        if one.kind == "swapped_corners":
            boxes[one.rows] = np.hstack([np.minimum(*np.hsplit(one.values, 2)), np.maximum(*np.hsplit(one.values, 2))])
        elif one.kind == "wrong_area":
            areas[one.rows] = np.nan
    table = replace(table, boxes=boxes, areas=areas).take_objects(kept)
    return _completed(table)


def _completed(table: Table) -> Table:
    """With the box of the mask where there is none, and an area where there is none: the mask's, else the box's."""
    boxes, areas = table.boxes.copy(), table.areas.copy()
    no_box, no_area = np.isnan(boxes[:, 0]), np.isnan(areas)
    to_draw = np.flatnonzero((no_box | no_area) & ~table.lacks_mask)
    for row in progress.bar(to_draw.tolist(), desc="drawing masks", disable=len(to_draw) < _MANY):
        rle = table.rle(row)
        if no_box[row]:
            boxes[row] = masks.box(rle)
        if no_area[row]:
            areas[row] = masks.area(rle)
    left = np.isnan(areas)
    areas[left] = np.prod(boxes[left, 2:] - boxes[left, :2], axis=1)
    return replace(table, boxes=boxes, areas=areas)


def _kept(count: int, found: Iterable[Found]) -> np.ndarray:
    """bool [count]: the rows that are of no kind that is left out."""
    kept = np.ones(count, bool)
    for one in found:
        if KINDS[one.kind].done == OUT:
            kept[one.rows] = False
    return kept


def _of_rejects(draft: UnvalidatedSplit) -> Iterator[Problem]:
    for kind in dict.fromkeys(reject.kind for reject in draft.skipped):
        yield Problem(kind, [reject.place for reject in draft.skipped if reject.kind == kind])


def of_images(table: Table, found: Found) -> Problem:
    """The problem of the images that were found, and their places."""
    places = [Place(table.names[r], "", str(v)) for r, v in _pairs(found)]
    return Problem(found.kind, places, table.image_ids[found.rows])


def of_objects(draft: UnvalidatedSplit, found: Found) -> Problem:
    """The problem of the objects that were found, and their places."""
    places = [draft.place(row, value) for row, value in _pairs(found)]
    return Problem(found.kind, places, draft.table.annotation_ids[found.rows])


def _pairs(found: Found) -> Iterator[tuple[int, Any]]:
    return zip(found.rows.tolist(), found.values, strict=True)
