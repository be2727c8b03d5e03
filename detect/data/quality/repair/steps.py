"""The steps of a repair, in their order. Each changes the table of a case and notes why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from detect.data.columns import MaskBuilder
from detect.data.quality.checks.annotations import Found, check_boxes
from detect.data.quality.checks.duplicates import check_copies
from detect.data.quality.checks.geometry import check_crossings, check_doubles, check_fit
from detect.data.quality.checks.image_files import check_files
from detect.data.quality.checks.image_headers import check_headers, read_headers, with_sizes
from detect.data.quality.cleaning import clean, of_images, of_objects, told
from detect.data.quality.problems import KINDS, OUT
from detect.data.quality.repair.coordinates import scaled, turned
from detect.data.quality.repair.split import Case
from detect.data.table import Table
from detect.media.fingerprint import Look, look_at_all
from detect.structures import masks
from detect.structures.polygons import joined, outlines


def put_on_images(case: Case) -> None:
    """Annotations are turned and scaled to where their images are. DataError where most images are not there."""
    headers = read_headers(case.table)
    table = with_sizes(case.table, headers)
    for found in check_headers(table, headers):
        move = {"exif_turned": turned, "wrong_size": scaled}.get(found.kind)
        if move:
            case.note(of_images(case.table, found))
            table = move(table, found.rows.tolist(), headers)
    case.table = table


def leave_out_broken(case: Case) -> list[Look]:
    """What cannot be trained on goes, by the policy of ``cleaning``, and images that break off; returns the looks of
    those that are left."""
    draft = case.draft
    case.table, problems = clean(draft)
    list(told(problems, draft))
    for problem in problems:
        case.note(problem)
    headers = read_headers(case.table)
    looks = look_at_all([case.table.path(i) for i in range(len(case.table))])
    kept = np.ones(len(case.table), bool)
    for found in check_files(case.table, headers, looks):
        case.note(of_images(case.table, found))
        if found.kind == "truncated_image":
            kept[found.rows] = False
    case.table = case.table.take_images(np.flatnonzero(kept))
    return [look for look, keep in zip(looks, kept.tolist(), strict=True) if keep]


def leave_out_copies(cases: Mapping[str, Case], looks: Mapping[str, Sequence[Look]]) -> None:
    """Of the same image in several splits that of test is kept, else that of val; twice in one split, the one with
    most objects."""
    found = check_copies({name: case.table for name, case in cases.items()}, looks)
    for name, case in cases.items():
        leaks = [problem for problem in found.get(name, []) if problem.kind == "leaked_image"]
        for problem in leaks:
            case.note(problem)
        leaked = np.concatenate([problem.ids for problem in leaks] or [np.zeros(0, np.int64)])
        table, counts = case.table, np.diff(case.table.object_starts)
        best: dict[str, int] = {}
        rows = np.flatnonzero(~np.isin(table.image_ids, leaked)).tolist()
        for row in sorted(rows, key=(-counts).__getitem__):  # which leaves equal ones in their order
            kept = best.setdefault(looks[name][row].digest, row)
            if kept != row:
                kind = "listed_twice" if table.path(row) == table.path(kept) else "duplicate_image"
                case.image_whys[int(table.image_ids[row])][kind] = None
        case.table = table.take_images(np.array(sorted(best.values()), np.int64))


def redraw(case: Case) -> None:
    """Boxes are clipped and fitted to masks, polygons that cross themselves outlined anew, doubles left out, and what
    turns out to be empty then."""
    for found in check_boxes(case.table):
        if found.kind == "reaches_out":
            case.note(of_objects(case.draft, found))
            case.table = _with_boxes(case.table, found.rows, _clipped(case.table, found.rows))
    for found in check_crossings(case.table):
        case.note(of_objects(case.draft, found))
        case.table = _outlined(case.table, found.rows)
    empty, differing = check_fit(case.table)
    case.note(of_objects(case.draft, differing))
    case.table = _with_boxes(case.table, differing.rows, differing.values)
    _drop(case, [empty])
    _drop(case, [found for found in check_boxes(case.table) if KINDS[found.kind].done == OUT])
    _drop(case, [found for found in check_doubles(case.table) if found.kind == "duplicate_object"])


def _drop(case: Case, found: Sequence[Found]) -> None:
    kept = np.ones(len(case.table.labels), bool)
    for one in found:
        case.note(of_objects(case.draft, one))
        kept[one.rows] = False
    case.table = case.table.take_objects(kept)


def _clipped(table: Table, rows: np.ndarray) -> np.ndarray:
    return np.clip(table.boxes[rows], 0, np.tile(table.image_hw[table.images[rows]][:, ::-1], 2))


def _with_boxes(table: Table, rows: np.ndarray, new: np.ndarray) -> Table:
    """With new boxes; the area of an object without a mask is its box's."""
    boxes, areas = table.boxes.copy(), table.areas.copy()
    boxes[rows] = new
    bare = rows[table.lacks_mask[rows]]
    areas[bare] = np.prod(boxes[bare, 2:] - boxes[bare, :2], axis=1)
    return replace(table, boxes=boxes, areas=areas)


def _outlined(table: Table, rows: np.ndarray) -> Table:
    """Polygons around what the polygons of the objects at ``rows`` fill."""
    builder, drawn, areas = MaskBuilder(), [], table.areas.copy()
    for row in rows.tolist():
        rle = table.rle(row)
        if polygons := [joined([part]) for part in outlines(rle)]:
            builder.add(polygons)
            drawn.append(row)
            areas[row] = masks.area(rle)
    return replace(table, areas=areas).with_masks(np.array(drawn, np.int64), builder.finish())
