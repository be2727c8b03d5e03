"""Checks of the class list and of the number of objects per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detect.data.numbered_classes import instance_number_groups, numbered_groups
from detect.data.table import Table
from detect.data.validation.crowds import has_many_crowds, has_objects
from detect.data.validation.problems import Location, Problem
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few

_RARE = 0.01  # fraction of the objects of the most frequent class


def count_objects(table: Table, class_names: ClassNames) -> np.ndarray:
    """Return the number of objects of each class without crowds, int64 [K]."""
    return np.bincount(table.labels[~table.iscrowd], minlength=len(class_names) + 1)[1:]


def check_classes(tables: Mapping[str, Table], class_names: ClassNames) -> Iterator[tuple[str, Problem]]:
    """Yield the problems of classes, each with its split, or "" for the whole dataset."""
    counts = {split: count_objects(table, class_names) for split, table in tables.items()}
    names, total = class_names.names, sum(counts.values(), np.zeros(len(class_names), np.int64))
    for split, split_counts in counts.items():
        table = tables[split]
        if has_many_crowds(table):
            kind = "many_crowds" if has_objects(table) else "only_crowds"
            crowds = counted(int(table.iscrowd.sum()), "crowd")
            yield split, _problem(kind, {f"{crowds} of {counted(len(table.iscrowd), 'object')}": ""})
        elif not split_counts.any():
            yield split, _problem("split_without_objects", {counted(len(tables[split]), "image"): ""})
        if split != "train" and "train" in counts:
            untrained = np.flatnonzero((split_counts > 0) & (counts["train"] == 0))
            yield (
                split,
                _problem("class_not_in_train", {names[i]: counted(int(split_counts[i]), "object") for i in untrained}),
            )
    yield "", _problem("unused_class", {names[i]: "" for i in np.flatnonzero(total == 0)})
    rare = np.flatnonzero((total > 0) & (total < _RARE * total.max(initial=0)))
    largest = names[int(total.argmax())] if len(names) else ""
    explained = {names[i]: f"{counted(int(total[i]), 'object')}, {largest} has {total.max()}" for i in rare}
    yield "", _problem("class_imbalance", explained)
    equal = {name: f"similar to {group[0]}" for group in similar_names(class_names) for name in group[1:]}
    yield "", _problem("similar_class_names", equal)
    numbers = instance_number_groups(tables.values(), class_names)
    for kind, wanted in (("instance_numbers", True), ("numbered_classes", False)):
        groups = {b: names for b, names in numbered_groups(class_names.names).items() if (b in numbers) == wanted}
        yield "", _problem(kind, {base: describe_group(group, total, class_names) for base, group in groups.items()})
    if class_names.ids != tuple(range(1, len(names) + 1)):
        ids = f"ids {min(class_names.ids)} to {max(class_names.ids)} for {counted(len(names), 'class', 'classes')}"
        yield "", _problem("irregular_category_ids", {names[0]: ids})


def classes_in_use(table: Table, class_names: ClassNames) -> set[str]:
    """Return the names of the classes with at least one object that is not a crowd."""
    return {class_names.names[i] for i in np.flatnonzero(count_objects(table, class_names))}


def check_lists(lists: Mapping[str, ClassNames]) -> Iterator[tuple[str, Problem]]:
    """Yield the classes whose category ids mean another class in the first split.

    lists: classes as each split lists them.
    """
    first, *others = lists
    name_of = dict(zip(lists[first].ids, lists[first].names, strict=True))
    for split in others:
        pairs = zip(lists[split].names, lists[split].ids, strict=True)
        conflicts = {name: f"id {i}, in {first} {name_of[i]}" for name, i in pairs if name_of.get(i, name) != name}
        yield split, _problem("category_id_conflict", conflicts)


def similar_names(class_names: ClassNames) -> list[list[str]]:
    """Return groups of names that differ only in case, spaces, hyphens and underscores."""
    groups: dict[str, list[str]] = {}
    for name in class_names.names:
        groups.setdefault("".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def describe_group(group: Sequence[str], total: np.ndarray, class_names: ClassNames) -> str:
    """Return class names with their numbers of objects; ``total`` is int64 [K]."""
    return first_few(f"{name} ({total[class_names.label(name) - 1]})" for name in group)


def _problem(kind: str, values: Mapping[str, str]) -> Problem:
    """Return the problem of the classes in ``values``, class name -> what is wrong with the class."""
    return Problem(kind, [Location(name, "", value) for name, value in values.items()])
