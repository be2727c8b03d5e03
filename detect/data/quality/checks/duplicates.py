"""Images that are there twice, within a split and across splits, to the byte or nearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np

from detect.data.quality.near_duplicates import groups_alike, nearest, signatures
from detect.data.quality.problems import Place, Problem
from detect.data.table import Table
from detect.media.fingerprint import Look

KEPT_FIRST = ("test", "val", "train")  # of the same image in several splits, that in the first of these is kept


def check_listed_twice(table: Table) -> Problem:
    """The images that an earlier one of the split names too."""
    first: dict[str, int] = {}
    rows = [row for row, name in enumerate(table.names) if first.setdefault(name, row) != row]
    return _of_rows("listed_twice", table, rows, ["" for _ in rows])


def check_copies(tables: Mapping[str, Table], looks: Mapping[str, Sequence[Look]]) -> dict[str, list[Problem]]:
    """duplicate_image, leaked_image, near_duplicate and near_leak in each split.

    looks: of each image of each table.
    """
    splits = sorted(tables, key=lambda s: (KEPT_FIRST.index(s) if s in KEPT_FIRST else len(KEPT_FIRST), s))
    where = [(split, row) for split in splits for row in range(len(tables[split])) if looks[split][row].digest]
    images = [looks[split][row] for split, row in where]
    first: dict[str, int] = {}
    same = np.array([first.setdefault(look.digest, i) for i, look in enumerate(images)], np.int64)
    found: dict[str, dict[str, list[tuple[int, str]]]] = {split: {} for split in splits}

    def note(kind: str, leak: str, i: int, other: int, value: str) -> None:
        (split, row), (other_split, other_row) = where[i], where[other]
        name = tables[other_split].names[other_row]
        if split == other_split:
            found[split].setdefault(kind, []).append((row, f"{name}{value}"))
        else:
            found[split].setdefault(leak, []).append((row, f"{name} of {other_split}{value}"))

    for i, other in enumerate(same.tolist()):
        # An image that is listed twice in one split is told as that.
        if other < i and (where[i][0] != where[other][0] or _path(tables, where[i]) != _path(tables, where[other])):
            note("duplicate_image", "leaked_image", i, other, "")
    single = np.flatnonzero(same == np.arange(len(same)))
    if len(single):
        sketches = signatures(np.stack([_thumbnail(images[i]) for i in single.tolist()]))
        least = groups_alike(sketches)[1]
        split_from_path = np.array([splits.index(where[i][0]) for i in single.tolist()])
        for own, of in combinations_with_replacement(range(len(splits)), 2):
            others, rows = np.flatnonzero(split_from_path == own), np.flatnonzero(split_from_path == of)
            best, score = nearest(sketches[rows], None if own == of else sketches[others])
            for i in np.flatnonzero(score >= least).tolist():
                value = f", correlation {score[i]:.3f}"
                note("near_duplicate", "near_leak", int(single[rows[i]]), int(single[others[best[i]]]), value)
    return {
        split: [_of_rows(kind, tables[split], *zip(*places, strict=True)) for kind, places in of_split.items()]
        for split, of_split in found.items()
    }


def _thumbnail(look: Look) -> np.ndarray:
    assert look.thumbnail is not None  # an image with a digest could be read
    return look.thumbnail


def _path(tables: Mapping[str, Table], where: tuple[str, int]) -> str:
    split, row = where
    return str(tables[split].path(row))


def _of_rows(kind: str, table: Table, rows: Sequence[int], values: Sequence[str]) -> Problem:
    places = [Place(table.names[row], "", value) for row, value in zip(rows, values, strict=True)]
    return Problem(kind, places, table.image_ids[list(rows)] if len(rows) else np.zeros(0, np.int64))
