"""Images that the annotations of a split list several times, under different ids: their objects are united."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import numpy as np

from detect.data.table import Table, object_starts
from detect.data.unvalidated_split import ReportedEntry, UnvalidatedSplit
from detect.data.validation.problems import Location
from detect.text import counted


def merge_repeated_images(split: UnvalidatedSplit) -> UnvalidatedSplit:
    """Return the split with one row per image file, which has the objects of all rows of that file.

    Of equal objects in several rows, which have the same class and the same box, those of the first row are kept. Each
    such image is noted.
    """
    first_of: dict[str, int] = {}
    target = np.array([first_of.setdefault(posixpath.normpath(n), i) for i, n in enumerate(split.table.names)], int)
    repeated = np.flatnonzero(target != np.arange(len(target)))
    if not len(repeated):
        return split
    merged, counts = np.unique(target[repeated], return_counts=True)
    notes = [
        ReportedEntry(
            "image_listed_twice",
            Location(split.table.names[row], "", f"listed {counted(count + 1, 'time')}, with different ids"),
            row,
        )
        for row, count in zip(merged.tolist(), counts.tolist(), strict=True)
    ]
    split = replace(
        split,
        table=_united(split.table, target),
        skipped=tuple(e._replace(image=int(target[e.image])) if e.image >= 0 else e for e in split.skipped),
        notes=tuple(e._replace(image=int(target[e.image])) if e.image >= 0 else e for e in (*split.notes, *notes)),
    )
    return split.take_images(np.setdiff1d(np.arange(len(target)), repeated))


def _united(table: Table, target: np.ndarray) -> Table:
    """Return the table with the objects of image i moved to image target[i], without those that others repeat."""
    images_before = table.images
    images = target[images_before]
    order = np.argsort(images, kind="stable")
    columns = ("boxes", "labels", "areas", "iscrowd", "annotation_ids", "numbers", "mask_rows")
    table = replace(
        table,
        **{name: getattr(table, name)[order] for name in columns},
        object_starts=object_starts(images[order], len(table)),
    )
    has_several = np.bincount(target, minlength=len(target))[images[order]] > 1
    rows = np.flatnonzero(has_several & ~np.isnan(table.boxes[:, 0]))
    keys = np.column_stack([images[order][rows], table.labels[rows], table.iscrowd[rows], table.boxes[rows].round(2)])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    source = images_before[order][rows]
    kept = np.ones(len(order), bool)
    kept[rows] = source == source[first][group.ravel()]
    return table.take_objects(kept)
