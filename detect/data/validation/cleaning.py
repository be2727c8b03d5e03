"""Validation of annotations when a dataset is read: what is skipped, corrected or kept.

Images and objects of the kinds whose ``when_read`` is "skipped" are removed. Of an object with several polygons only
the invalid polygons are removed. Inverted boxes get their coordinates ordered. A missing box is computed from the
mask, an invalid area from mask or box. Nothing else changes: boxes that extend beyond their image stay so in the
ground truth that models are evaluated against, and training clips them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detect import progress
from detect.data.columns import MaskBuilder
from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.data.validation.annotations import Finding, check_boxes, check_objects, valid_polygons
from detect.data.validation.exif_rotation import fit_exif_rotation
from detect.data.validation.image_headers import check_headers, read_headers, with_sizes
from detect.data.validation.problems import KINDS, SKIPPED, Location, Problem, Severity
from detect.errors import DataError
from detect.structures import masks
from detect.text import counted, first_few

_POLYGON_KINDS = ("too_few_points", "invalid_mask")  # only the invalid polygons of an object are removed
_MAX_UNMATCHED = 0.02  # fraction of the images
_BAR_MIN_MASKS = 20_000  # number of masks from which a progress bar is shown


def clean(split: UnvalidatedSplit) -> tuple[Table, list[Problem]]:
    """Return the valid images and objects of a split, and the problems found."""
    problems = list(_reported_entries(split))
    split = split.take_images(np.setdiff1d(np.arange(len(split.table)), _lost_images(split)))
    split, findings = _with_checked_images(split)
    problems += [image_problem(split.table, finding) for finding in findings]
    split = split.take_images(np.flatnonzero(_kept(len(split.table), findings)))

    findings = list(check_objects(split.table))
    problems += [object_problem(split, finding) for finding in findings]
    split = replace(split, table=_corrected(split.table, findings))
    # Boxes computed from masks can be empty too.
    findings = [finding for finding in check_boxes(split.table) if KINDS[finding.kind].when_read == SKIPPED]
    problems += [object_problem(split, finding) for finding in findings]
    table = split.table.take_objects(_kept(len(split.table.labels), findings))
    return table, [problem for problem in problems if problem.locations]


def usable_images(split: UnvalidatedSplit) -> np.ndarray:
    """Return which images reading keeps, bool [N]: their files exist, can be read and have the annotated size."""
    _, findings = _with_checked_images(split)
    kept = _kept(len(split.table), findings)
    kept[_lost_images(split)] = False
    return kept


def _lost_images(split: UnvalidatedSplit) -> list[int]:
    """Return the rows of the images that an annotation file does not describe sufficiently."""
    return [e.image for e in split.skipped if KINDS[e.kind].subject == "image" and e.image >= 0]


def _with_checked_images(split: UnvalidatedSplit) -> tuple[UnvalidatedSplit, list[Finding]]:
    """Return the split with the size and orientation of its image files, and what is wrong with these."""
    headers = read_headers(split.table)
    table, turned = fit_exif_rotation(split.table, headers)
    table = with_sizes(table, headers)
    return replace(split, table=table), [*turned, *check_headers(table, headers)]


def warnings_of(problems: Sequence[Problem], split: UnvalidatedSplit, name: str, said: set[str]) -> Iterator[str]:
    """Yield one warning per kind of problem with its handling.

    name: of the split, such as "val".
    said: kinds of notes about other splits of the dataset, which are left out here; those of this split are added.
    Raises DataError if more than half of the images are missing, for the rest of a random split more than half of all
    images that it was drawn from; then the image folder is wrong.
    """
    total = split.drawn_from or len(split.table)
    for problem in problems:
        missing = len(problem.ids)  # annotation files of unknown images do not count
        if problem.kind == "missing_image" and missing > total / 2:
            files = first_few(split.table.folder / location.file for location in problem.locations[-missing:])
            of = f"the {total} images of all random splits" if split.drawn_from else f"its {counted(total, 'image')}"
            raise DataError(
                f"{split.annotations}: split '{name}': {missing} of {of} {'is' if missing == 1 else 'are'} missing:"
                f" {files}; restore the files, or remove these images from the annotations"
            )
    for problem in problems:
        kind = KINDS[problem.kind]
        if kind.severity is Severity.NOTE:
            if problem.kind in said:
                continue
            said.add(problem.kind)
        handling = f"{len(problem.locations)} {kind.when_read or 'kept'} ({first_few(problem.locations, 3)})"
        yield f"{split.annotations}: {kind.title}: {handling}"


def check_enough_left(problems: Sequence[Problem], split: UnvalidatedSplit, table: Table) -> None:
    """Raise DataError if most objects of ``split`` are invalid; then the tool that wrote the file is at fault.

    table: result of ``clean(split)``. Only objects on the images of ``table`` count.
    """
    _check_label_files(split)
    images = np.isin(split.table.image_ids, table.image_ids)
    never_read = sum(KINDS[e.kind].subject == "object" and e.image >= 0 and images[e.image] for e in split.skipped)
    total = int(images[split.table.images].sum()) + int(never_read)
    if (lost := total - len(table.labels)) > total / 2:
        kinds = (p for p in problems if KINDS[p.kind].subject == "object" and KINDS[p.kind].when_read == SKIPPED)
        parts = "; ".join(f"{KINDS[p.kind].title} ({first_few(p.locations, 3)})" for p in kinds)
        raise DataError(
            f"{split.annotations}: {lost} of {counted(total, 'object')} are invalid: {parts};"
            " doctor.py fix removes them"
        )


def _check_label_files(split: UnvalidatedSplit) -> None:
    """Raise DataError if label files lack an image while images lack a label file; then their names do not match."""
    if split.table.sources is None:
        return
    files = [e.location.file for e in split.skipped if e.kind == "missing_image" and e.image < 0]
    images = [name for name, file in zip(split.table.names, split.table.sources, strict=True) if not file]
    if min(len(files), len(images)) > _MAX_UNMATCHED * len(split.table):
        have = "has" if len(images) == 1 else "have"
        raise DataError(
            f"{split.annotations}: {counted(len(files), 'label file')} without an image ({first_few(files, 2)}), and "
            f"{counted(len(images), 'image')} {have} no label file ({first_few(images, 2)}); rename them, or "
            "remove these label files"
        )


def missing_mask_warnings(table: Table, annotations: Path) -> Iterator[str]:
    """Yield a warning if some objects have a mask and others have none, since Mask R-CNN needs a mask for each."""
    missing = table.lacks_mask
    if missing.any() and not missing.all():
        images = len(np.unique(table.images[missing]))
        have = "has" if images == 1 else "have"
        yield f"{annotations}: {counted(images, 'image')} {have} objects without a mask, so no masks are used"


def image_problem(table: Table, finding: Finding) -> Problem:
    """Return the problem of the images of a finding."""
    locations = [Location(table.names[row], "", str(value)) for row, value in _pairs(finding)]
    return Problem(finding.kind, locations, table.image_ids[finding.rows])


def object_problem(split: UnvalidatedSplit, finding: Finding) -> Problem:
    """Return the problem of the objects of a finding."""
    locations = [split.location(row, value) for row, value in _pairs(finding)]
    return Problem(finding.kind, locations, split.table.annotation_ids[finding.rows])


def _pairs(finding: Finding) -> Iterator[tuple[int, Any]]:
    return zip(finding.rows.tolist(), finding.values, strict=True)


def _reported_entries(split: UnvalidatedSplit) -> Iterator[Problem]:
    """Yield the problems that the reader met."""
    by_kind: dict[str, list[Location]] = {}
    for entry in (*split.skipped, *split.notes):
        by_kind.setdefault(entry.kind, []).append(entry.location)
    yield from (Problem(kind, locations) for kind, locations in by_kind.items())


def _corrected(table: Table, findings: Sequence[Finding]) -> Table:
    """Return the table without skipped objects and invalid polygons, with a box and an area for every object."""
    rows = [row for finding in findings if finding.kind in _POLYGON_KINDS for row in finding.rows.tolist()]
    polygons_of = {row: valid_polygons(table, row) for row in rows}
    trimmed = np.array([row for row, polygons in polygons_of.items() if polygons], np.int64)
    builder = MaskBuilder()
    for row in trimmed.tolist():
        builder.add(polygons_of[row])
    table = table.with_masks(trimmed, builder.finish())

    kept = _kept(len(table.labels), [finding for finding in findings if finding.kind not in _POLYGON_KINDS])
    kept[[row for row, polygons in polygons_of.items() if not polygons]] = False
    boxes, areas = table.boxes.copy(), table.areas.copy()
    for finding in findings:
        if finding.kind == "inverted_box":
            one, other = np.hsplit(finding.values, 2)
            boxes[finding.rows] = np.hstack([np.minimum(one, other), np.maximum(one, other)])
        elif finding.kind == "invalid_area":
            areas[finding.rows] = np.nan
    return _completed(replace(table, boxes=boxes, areas=areas).take_objects(kept))


def _completed(table: Table) -> Table:
    """Return the table with missing boxes computed from masks, and missing areas from masks or else boxes."""
    boxes, areas = table.boxes.copy(), table.areas.copy()
    no_box, no_area = np.isnan(boxes[:, 0]), np.isnan(areas)
    to_draw = np.flatnonzero((no_box | no_area) & ~table.lacks_mask)
    for row in progress.bar(to_draw.tolist(), desc="rasterizing masks", min_items=_BAR_MIN_MASKS):
        rle = table.rle(row)
        if no_box[row]:
            boxes[row] = masks.box(rle)
        if no_area[row]:
            areas[row] = masks.area(rle)
    missing = np.isnan(areas)
    areas[missing] = np.prod(boxes[missing, 2:] - boxes[missing, :2], axis=1)
    return replace(table, boxes=boxes, areas=areas)


def _kept(count: int, findings: Iterable[Finding]) -> np.ndarray:
    """Return which of ``count`` rows are read, bool [count]: False where a finding has a kind that reading skips."""
    kept = np.ones(count, bool)
    for finding in findings:
        if KINDS[finding.kind].when_read == SKIPPED:
            kept[finding.rows] = False
    return kept
