"""Class names that a training checkpoint of another program states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from detect.models.weight_files.pickle_values import Opaque, as_dict, attributes
from detect.structures.class_names import ClassNames
from detect.text import counted, one_line

# Keys under which programs store class names, in lower case and without underscores and hyphens.
_KEYS = {
    *("classes", "classnames", "names", "labels", "labelnames", "labelmap", "categories", "categorynames"),
    *("classtoidx", "idxtoclass", "id2label", "label2id", "thingclasses"),
}
_BACKGROUND = {"background", "bg"}
_UNUSED = {"n/a", "na", ""}  # rows without a class, as in COCO's 91 categories
_MAX_DEPTH = 4
_MAX_DICTS = 1000


@dataclass(frozen=True)
class ClassList:
    """Class names that a file states.

    Attributes:
        names: the classes of the heads; None if they are unknown.
        rows: row of the classification layer for each label 1..K; None if row = label.
        key: key of the file that holds the names.
        note: where they were found, or why they are not used, for messages; "" if the file names no classes.
    """

    names: ClassNames | None = None
    rows: tuple[int, ...] | None = None
    key: str = ""
    note: str = ""


def find_class_names(content: Any, num_rows: int) -> ClassList:
    """Return the class names in a file, if their number fits the heads, and if there is no second list that differs.

    content: value of a file. num_rows: rows of the classification layer, background included.
    """
    lists = {path: names for path, names in _lists(content) if names}
    fitting = {path: rows for path, names in lists.items() if (rows := _rows(names, num_rows))}
    if not lists:
        return ClassList()
    path = next(iter(fitting), next(iter(lists)))
    if not fitting:
        stated = counted(len(lists[path]), "class name")
        reason = f"the head has {num_rows} rows, background included"
        return ClassList(note=f"its {stated} ('{path}') cannot be used: {reason}")
    if len({tuple(rows.items()) for rows in fitting.values()}) > 1:
        return ClassList(note=f"its class names cannot be used: {' and '.join(fitting)} differ")
    rows = fitting[path]
    names = ClassNames(tuple(rows))
    in_order = tuple(rows.values()) == tuple(range(1, num_rows))
    note = f"{counted(len(rows), 'class name')} from '{path}'"
    return ClassList(names, None if in_order else tuple(rows.values()), path.partition(".")[0], note)


def _rows(names: list[str], num_rows: int) -> dict[str, int] | None:
    """Return class name -> row of the classification layer; None if the names do not fit it.

    Row 0 is the background, which a list may name first or leave out.
    """
    is_background = [name.strip("_ ").lower() in _BACKGROUND for name in names]
    if any(is_background[1:]) or len(names) != num_rows - (not is_background[0]):
        return None
    first = 0 if is_background[0] else 1
    used = {row: name for row, name in enumerate(names, start=first) if row and name.strip().lower() not in _UNUSED}
    if not used or len(set(used.values())) < len(used) or max(used) != num_rows - 1:
        return None
    return {one_line(name): row for row, name in used.items()}


def _lists(content: Any) -> Iterator[tuple[str, list[str]]]:
    """Yield the path and the names of each list of class names, down to _MAX_DEPTH."""
    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    for path, value in waiting:  # grows meanwhile
        for key, child in list((as_dict(value) | attributes(value)).items())[:_MAX_DICTS]:
            if not isinstance(key, str):
                continue
            inside = (*path, one_line(key))
            if key.lower().replace("_", "").replace("-", "") in _KEYS:
                yield ".".join(inside), _names(child)
            if len(path) < _MAX_DEPTH and len(waiting) < _MAX_DICTS and isinstance(child, dict | Opaque):
                waiting.append((inside, child))


def _names(value: Any) -> list[str]:
    """Return class names in the order of their labels; [] for a value that does not clearly state them."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return list(value)
    if isinstance(value, list | tuple):  # categories of COCO
        dicts = [as_dict(one) for one in value]
        pairs = [(one.get("id"), one.get("name")) for one in dicts]
    else:
        pairs = list(as_dict(value).items())
        if all(isinstance(number, int) for _, number in pairs):  # name -> number
            pairs = [(number, name) for name, number in pairs]
    numbers = {int(n): name for n, name in pairs if n is not None and _is_id(n) and isinstance(name, str)}
    in_order = sorted(numbers)
    if not numbers or len(numbers) < len(pairs) or in_order != list(range(in_order[0], in_order[0] + len(numbers))):
        return []
    return [numbers[number] for number in in_order] if in_order[0] in (0, 1) else []


def _is_id(value: Any) -> bool:
    is_int = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6
    return is_int or (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 7)
