"""Steps of a repair, in the order in which they run. Each changes the table of a split and records the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detect.data.columns import MaskBuilder
from detect.data.quality.checks.duplicates import check_copies
from detect.data.quality.checks.geometry import check_duplicate_objects, check_fit, check_self_intersections
from detect.data.quality.checks.image_files import check_files
from detect.data.quality.repair.split import SplitRepair
from detect.data.table import Table
from detect.data.validation.annotations import Finding, check_boxes
from detect.data.validation.cleaning import clean, image_problem, object_problem, warnings_of
from detect.data.validation.coordinates import scaled
from detect.data.validation.exif_rotation import fit_exif_rotation
from detect.data.validation.image_headers import check_headers, read_headers, with_sizes
from detect.data.validation.problems import KINDS, SKIPPED
from detect.media.fingerprint import Fingerprint, fingerprint_images
from detect.structures import masks
from detect.structures.polygons import join_rings, mask_rings


def make_crowds_objects(split: SplitRepair) -> None:
    """Make single objects of all crowds."""
    for row in split.table.annotation_ids[split.table.iscrowd].tolist():
        split.object_reasons[row]["many_crowds"] = None
    split.table = split.table.without_crowds()


def fit_to_images(split: SplitRepair) -> None:
    """Rotate and scale annotations to the size of their images."""
    headers = read_headers(split.table)
    table, turned = fit_exif_rotation(split.table, headers)
    for finding in turned:
        split.note(image_problem(split.table, finding))
    table = with_sizes(table, headers)
    for finding in check_headers(table, headers):
        if finding.kind == "image_size_mismatch":
            split.note(image_problem(split.table, finding))
            table = scaled(table, finding.rows.tolist(), headers)
    split.table = table


def remove_invalid(split: SplitRepair, name: str) -> list[Fingerprint]:
    """Remove what reading a dataset for training skips (see ``cleaning``), and truncated images.

    name: of the split, for messages.
    Returns the fingerprints of the remaining images. Raises DataError if most images are missing.
    """
    before = split.current
    split.table, problems = clean(before)
    list(warnings_of(problems, before, name, set()))  # only for its error: the ledger reports the problems
    for problem in problems:
        split.note(problem)
    headers = read_headers(split.table)
    fingerprints = fingerprint_images([split.table.path(i) for i in range(len(split.table))])
    kept = np.ones(len(split.table), bool)
    for finding in check_files(split.table, headers, fingerprints):
        split.note(image_problem(split.table, finding))
        if finding.kind == "truncated_image":
            kept[finding.rows] = False
    split.table = split.table.take_images(np.flatnonzero(kept))
    return [fingerprint for fingerprint, keep in zip(fingerprints, kept.tolist(), strict=True) if keep]


def remove_copies(splits: Mapping[str, SplitRepair], fingerprints: Mapping[str, Sequence[Fingerprint]]) -> None:
    """Remove copies of an image: in several splits, test or else val keeps it; in one split, the copy with most
    objects.

    fingerprints: one per image of each split.
    """
    found = check_copies({name: split.table for name, split in splits.items()}, fingerprints)
    for name, split in splits.items():
        leaks = [problem for problem in found.get(name, []) if problem.kind == "leaked_image"]
        for problem in leaks:
            split.note(problem)
        leaked = np.concatenate([problem.ids for problem in leaks] or [np.zeros(0, np.int64)])
        table, counts = split.table, np.diff(split.table.object_starts)
        best: dict[str, int] = {}
        rows = np.flatnonzero(~np.isin(table.image_ids, leaked)).tolist()
        for row in sorted(rows, key=(-counts).__getitem__):  # a stable sort: of equal copies the first is kept
            kept = best.setdefault(fingerprints[name][row].digest, row)
            if kept != row:
                split.image_reasons[int(table.image_ids[row])]["duplicate_image"] = None
        split.table = table.take_images(np.array(sorted(best.values()), np.int64))


def fix_shapes(split: SplitRepair) -> None:
    """Clip boxes, fit them to masks, replace self-intersecting polygons, and remove duplicate and empty objects."""
    for finding in check_boxes(split.table):
        if finding.kind == "box_exceeds_image":
            split.note(object_problem(split.current, finding))
            split.table = _with_boxes(split.table, finding.rows, _clipped(split.table, finding.rows))
    for finding in check_self_intersections(split.table):
        split.note(object_problem(split.current, finding))
        split.table = _with_contours(split.table, finding.rows)
    empty, mismatched = check_fit(split.table)
    split.note(object_problem(split.current, mismatched))
    split.table = _with_boxes(split.table, mismatched.rows, mismatched.values)
    _remove(split, [empty])
    _remove(split, [finding for finding in check_boxes(split.table) if KINDS[finding.kind].when_read == SKIPPED])
    _remove(split, [f for f in check_duplicate_objects(split.table) if f.kind == "duplicate_object"])


def _remove(split: SplitRepair, findings: Sequence[Finding]) -> None:
    kept = np.ones(len(split.table.labels), bool)
    for finding in findings:
        split.note(object_problem(split.current, finding))
        kept[finding.rows] = False
    split.table = split.table.take_objects(kept)


def _clipped(table: Table, rows: np.ndarray) -> np.ndarray:
    return np.clip(table.boxes[rows], 0, np.tile(table.image_hw[table.images[rows]][:, ::-1], 2))


def _with_boxes(table: Table, rows: np.ndarray, new: np.ndarray) -> Table:
    """Return the table with new boxes; an object without a mask gets the area of its box."""
    boxes, areas = table.boxes.copy(), table.areas.copy()
    boxes[rows] = new
    without_mask = rows[table.lacks_mask[rows]]
    areas[without_mask] = np.prod(boxes[without_mask, 2:] - boxes[without_mask, :2], axis=1)
    return replace(table, boxes=boxes, areas=areas)


def _with_contours(table: Table, rows: np.ndarray) -> Table:
    """Return the table with the polygons of the objects ``rows`` replaced by the contours of the filled area."""
    builder, replaced, areas = MaskBuilder(), [], table.areas.copy()
    for row in rows.tolist():
        rle = table.rle(row)
        if polygons := [join_rings([part]) for part in mask_rings(rle)]:
            builder.add(polygons)
            replaced.append(row)
            areas[row] = masks.area(rle)
    return replace(table, areas=areas).with_masks(np.array(replaced, np.int64), builder.finish())
