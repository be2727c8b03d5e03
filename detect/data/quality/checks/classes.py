"""What is odd about the classes of a dataset and how its objects are spread over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from detect.data.quality.problems import Place, Problem
from detect.data.table import Table
from detect.structures.class_names import ClassNames

_RARE = 0.01  # of the objects of the largest class


def count_objects(table: Table, class_names: ClassNames) -> np.ndarray:
    """int64 [K], the objects of each class, crowds left out."""
    return np.bincount(table.labels[~table.iscrowd], minlength=len(class_names) + 1)[1:]


def check_classes(tables: Mapping[str, Table], class_names: ClassNames) -> Iterator[tuple[str, Problem]]:
    """The problems of classes with their splits, "" for what is of all of them."""
    counts = {split: count_objects(table, class_names) for split, table in tables.items()}
    names, every = class_names.names, sum(counts.values(), np.zeros(len(class_names), np.int64))
    for split, of_split in counts.items():
        if not of_split.any():
            yield split, _of("no_objects", {f"all {len(tables[split])} images": ""})
        elif split != "train" and "train" in counts:
            lost = np.flatnonzero((of_split > 0) & (counts["train"] == 0))
            yield split, _of("untrained_class", {names[i]: f"{of_split[i]} objects" for i in lost})
    yield "", _of("unused_class", {names[i]: "" for i in np.flatnonzero(every == 0)})
    rare = np.flatnonzero((every > 0) & (every < _RARE * every.max(initial=0)))
    largest = names[int(every.argmax())] if len(names) else ""
    yield "", _of("imbalance", {names[i]: f"{every[i]}, of {largest} {every.max()}" for i in rare})
    yield "", _of("similar_classes", {n: " = ".join(same) for same in similar(class_names) for n in same[1:]})
    if class_names.ids != tuple(range(1, len(names) + 1)):
        yield "", _of("odd_ids", {names[0]: f"{min(class_names.ids)} to {max(class_names.ids)}, {len(names)} classes"})


def classes_in_use(table: Table, class_names: ClassNames) -> set[str]:
    """The names of the classes that have objects, crowds left out."""
    return {class_names.names[i] for i in np.flatnonzero(count_objects(table, class_names))}


def check_lists(lists: Mapping[str, ClassNames]) -> Iterator[tuple[str, Problem]]:
    """other_classes: the classes of each split whose ids stand for others in the first one's list."""
    first, *others = lists
    name_of = dict(zip(lists[first].ids, lists[first].names, strict=True))
    for split in others:
        pairs = zip(lists[split].names, lists[split].ids, strict=True)
        different = {name: f"id {i}, in {first} {name_of[i]}" for name, i in pairs if name_of.get(i, name) != name}
        yield split, _of("other_classes", different)


def similar(class_names: ClassNames) -> list[list[str]]:
    """The names that differ in capitals, spaces, hyphens and underscores alone, together."""
    groups: dict[str, list[str]] = {}
    for name in class_names.names:
        groups.setdefault("".join(name.casefold().replace("_", " ").replace("-", " ").split()), []).append(name)
    return [same for same in groups.values() if len(same) > 1]


def _of(kind: str, found: Mapping[str, str]) -> Problem:
    return Problem(kind, [Place(name, "", value) for name, value in found.items()])
