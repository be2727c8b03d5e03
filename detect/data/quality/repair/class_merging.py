"""Classes that a repair merges: similar names, and on request numbered instances of one class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detect.data.numbered_classes import instance_number_groups, numbered_groups
from detect.data.quality.checks.classes import count_objects, similar_names
from detect.data.quality.repair.ledger import Entry, merge_reason
from detect.data.table import Table
from detect.errors import DataError
from detect.structures.class_names import ClassNames
from detect.text import first_few


def merge_similar_classes(
    class_names: ClassNames, tables: Sequence[Table], *, merge_suffixes: bool = False
) -> tuple[ClassNames, np.ndarray, list[Entry]]:
    """Merge classes with similar names into the one with the most objects.

    merge_suffixes: whether to merge classes that number the objects of each image, such as cat-0 and cat-1 into cat.
    Returns the new classes, the new label of each old label, int64 [K + 1], and entries of the ledger.
    Raises DataError if there are no suffixes to merge.
    """
    counts = sum((count_objects(table, class_names) for table in tables), np.zeros(len(class_names), np.int64))
    merged_into = {name: name for name in class_names.names}
    for group in similar_names(class_names):
        merged_into |= dict.fromkeys(group, max(group, key=lambda name: counts[class_names.label(name) - 1]))
    if merge_suffixes:
        merged_into |= _without_suffixes(class_names, tables, merged_into)
    ids: dict[str, int] = {}
    for name, to in merged_into.items():  # a class keeps its place if it stays, else has that of its first part
        if to == name or to not in merged_into:
            ids.setdefault(to, class_names.ids[class_names.names.index(name)])
    new = ClassNames(tuple(ids), tuple(ids.values()))
    label_of = np.array([0, *(new.label(to) for to in merged_into.values())], np.int64)
    renamed = [
        {"split": None, "change": "class renamed", "reasons": [merge_reason(name, to)], "before": name, "after": to}
        for name, to in merged_into.items()
        if name != to
    ]
    return new, label_of, renamed


def _without_suffixes(class_names: ClassNames, tables: Sequence[Table], merged_into: dict[str, str]) -> dict[str, str]:
    groups = instance_number_groups(tables, class_names)
    if not groups:
        numbered = [name for names in numbered_groups(class_names.names).values() for name in names]
        found = f": {first_few(numbered)} do not number the objects of each image" if numbered else ""
        raise DataError(
            f"`merge_suffixes`: no classes to merge{found}; a description of the dataset can merge any classes, with"
            " classes: {cat: [cat-0, cat-1]}"
        )
    base_of = {name: base for base, names in groups.items() for name in names}
    return {name: base_of.get(to, base_of.get(name, to)) for name, to in merged_into.items()}
