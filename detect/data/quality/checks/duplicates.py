"""Duplicate and near-duplicate images, within one split and across splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np

from detect.data.near_duplicates import group_near_duplicates, nearest, signatures
from detect.data.table import Table
from detect.data.validation.annotations import Finding
from detect.data.validation.cleaning import image_problem
from detect.data.validation.problems import Problem
from detect.media.fingerprint import Fingerprint

PRECEDENCE = ("test", "val", "train")  # of an image in several splits, the one in the first of these is kept

Row = tuple[str, int]
"""A split and the index of an image in its table."""


def check_copies(
    tables: Mapping[str, Table], fingerprints: Mapping[str, Sequence[Fingerprint]]
) -> dict[str, list[Problem]]:
    """Return by split the duplicates and near-duplicates within the split, and those of images in other splits.

    fingerprints: one per image of each table. Images that cannot be read are not compared.
    """
    splits = sorted(tables, key=lambda s: (PRECEDENCE.index(s) if s in PRECEDENCE else len(PRECEDENCE), s))
    rows = [(split, row) for split in splits for row in range(len(tables[split])) if fingerprints[split][row].digest]
    first: dict[str, int] = {}
    original = [first.setdefault(fingerprints[split][row].digest, i) for i, (split, row) in enumerate(rows)]
    found = _Pairs(tables)
    for i, other in enumerate(original):
        # An image listed twice in one split is reported as such.
        if other < i and (rows[i][0] != rows[other][0] or found.path(rows[i]) != found.path(rows[other])):
            found.add("duplicate_image", "leaked_image", rows[i], rows[other])
    distinct = [rows[i] for i, other in enumerate(original) if i == other]
    if distinct:
        _add_near_duplicates(found, splits, distinct, fingerprints)
    return found.problems(splits)


class _Pairs:
    """Pairs of equal or similar images, collected by split and kind."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables
        self.found: dict[str, dict[str, list[tuple[int, str]]]] = {split: {} for split in tables}

    def path(self, row: Row) -> str:
        return str(self.tables[row[0]].path(row[1]))

    def add(self, kind: str, leak_kind: str, row: Row, other: Row, remark: str = "") -> None:
        """Add an image and the image it equals: ``kind`` within one split, ``leak_kind`` across splits."""
        (split, index), (other_split, other_index) = row, other
        same_split = split == other_split
        name = self.tables[other_split].names[other_index] + ("" if same_split else f" in {other_split}")
        self.found[split].setdefault(kind if same_split else leak_kind, []).append((index, name + remark))

    def problems(self, splits: Sequence[str]) -> dict[str, list[Problem]]:
        return {
            split: [
                image_problem(self.tables[split], Finding.of_pairs(kind, pairs))
                for kind, pairs in self.found[split].items()
            ]
            for split in splits
        }


def _add_near_duplicates(
    found: _Pairs, splits: Sequence[str], rows: Sequence[Row], fingerprints: Mapping[str, Sequence[Fingerprint]]
) -> None:
    """Add each image with its most similar image, within each split and for each pair of splits."""
    thumbnails = [fingerprints[split][row].thumbnail for split, row in rows]
    vectors = signatures(np.stack([thumbnail for thumbnail in thumbnails if thumbnail is not None]))
    threshold = group_near_duplicates(vectors)[1]
    split_of = np.array([splits.index(split) for split, _ in rows])
    for earlier, later in combinations_with_replacement(range(len(splits)), 2):
        others, own = np.flatnonzero(split_of == earlier), np.flatnonzero(split_of == later)
        best, score = nearest(vectors[own], None if earlier == later else vectors[others])
        for i in np.flatnonzero(score >= threshold).tolist():
            remark = f", correlation {score[i]:.3f}"
            found.add("near_duplicate", "near_duplicate_leak", rows[own[i]], rows[others[best[i]]], remark)
