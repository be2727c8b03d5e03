"""Classes whose names differ by a number alone: ``cat-0``, ``cat-1``; numbers of instances or real classes.

Some annotation programs and users number the objects of each image. The numbers become classes, which no model can
tell apart. Real classes such as ``grade 1`` look the same, so the use of the numbers decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from detect.data.table import Table
from detect.data.unvalidated_split import UnvalidatedSplit
from detect.structures.class_names import ClassNames

_NUMBERED = re.compile(r"^(.*?[^\W\d_].*?)[\s_.#-]*\(?#?(\d{1,4})\)?$")
_MIN_IMAGES = 3
_MOST = 0.9  # fraction of the images of a group on which instance numbers are 0, 1, ... or 1, 2, ...
_RARELY = 0.1  # fraction of the pairs of an image and a class with several objects


def numbered_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Return {name without number: class names, by number} for names that differ by a number alone.

    A class that has the name without a number comes first in the group.
    """
    names = list(names)
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        if found := _NUMBERED.match(name):
            groups.setdefault(found[1], []).append((int(found[2]), name))
    return {
        base: [*([base] if base in names else []), *(name for _, name in sorted(members))]
        for base, members in groups.items()
        if len(members) > 1
    }


def are_instance_numbers(members: Sequence[str], tables: Iterable[Table], class_names: ClassNames) -> bool:
    """Return whether the numbers of a group of classes number the objects of each image.

    That is so if on nearly every image with such objects the numbers are consecutive from the first one, which is 0 or
    1 (or the name without number), hardly any image has two objects of one class, and some image has several objects.
    """
    if _number(members[0]) > 1:
        return False
    rank = np.full(len(class_names) + 1, -1)
    for position, name in enumerate(members):
        rank[class_names.label(name)] = position
    images = consecutive = pairs = repeated = several = 0
    for table in tables:
        kept = rank[table.labels] >= 0
        counts = np.zeros((len(table), len(members)), np.int64)
        np.add.at(counts, (table.images[kept], rank[table.labels[kept]]), 1)
        counts = counts[counts.any(axis=1)]
        present = counts > 0
        images += len(counts)
        consecutive += int((present == (np.arange(len(members)) < present.sum(axis=1)[:, None])).all(axis=1).sum())
        several += int((present.sum(axis=1) > 1).sum())
        pairs += int(present.sum())
        repeated += int((counts > 1).sum())
    if images < _MIN_IMAGES:
        return False
    return bool(several) and consecutive >= _MOST * images and repeated <= _RARELY * pairs


def _number(name: str) -> int:
    found = _NUMBERED.match(name)
    return int(found[2]) if found else 0


def instance_number_groups(tables: Iterable[Table], class_names: ClassNames) -> dict[str, list[str]]:
    """Return the ``numbered_groups`` whose numbers number the objects of each image."""
    tables = list(tables)
    groups = numbered_groups(class_names.names)
    return {base: names for base, names in groups.items() if are_instance_numbers(names, tables, class_names)}


def merge_classes(split: UnvalidatedSplit, new_names: Mapping[str, str]) -> UnvalidatedSplit:
    """Return a split with classes renamed by {name: new name}; classes of the same new name become one.

    A merged class has the category id of its first class.
    """
    renamed = [new_names.get(name, name) for name in split.names]
    names = list(dict.fromkeys(renamed))
    label_of = np.array([0, *(names.index(name) + 1 for name in renamed)], np.int64)
    table = replace(split.table, labels=label_of[split.table.labels])
    ids = tuple(split.ids[renamed.index(name)] for name in names)
    return replace(split, table=table, names=tuple(names), ids=ids)
