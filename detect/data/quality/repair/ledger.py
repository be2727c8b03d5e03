"""Ledger of a repair: JSON lines with every change, from which the original values can be restored.

Each line is an object with ``split``, ``change``, ``reasons`` (kinds of problems) and, depending on ``change``:

- "image removed", "object removed": ``image`` and ``before``, all its values.
- "image changed", "object changed": ``image``, its ``id`` in the new file, and ``before`` and ``after`` with the
  values that changed. Values that the original does not state are null there. An image or object for which
  only missing values were computed has no line.
- "entry skipped": ``location`` and ``text`` of an entry in the original file that could not be read.
- "entry read differently": ``location`` of an entry that was read otherwise than it is written, and ``text``, which
  says how it is written. The reason says how it was read.
- "class renamed": ``before`` and ``after``. Each object of the class has a line too.
- "16-bit images rescaled": ``before`` and ``after``, the ranges of gray values; one line for all splits.

The values of an image are ``file_name``, ``width``, ``height`` and ``id``. The values of an object are ``image`` (file
name in the original), ``id``, ``category``, ``category_id``, ``box_xyxy``, ``segmentation``, ``area`` and ``iscrowd``,
all but the box as in COCO. Other data, such as keypoints, attributes and licenses, is neither read nor copied.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from detect.data.quality.checks.classes import similar_names
from detect.data.quality.repair.split import SplitRepair
from detect.data.table import Table
from detect.data.validation.problems import KINDS
from detect.structures import masks
from detect.structures.class_names import ClassNames

Entry = dict[str, Any]


class Result(NamedTuple):
    """A split of the new dataset.

    table: images and objects.
    names: file names of the images.
    class_names: classes of the new dataset.
    """

    table: Table
    names: Sequence[str]
    class_names: ClassNames


def entries(
    name: str,
    repair: SplitRepair,
    class_names: ClassNames,
    listed: ClassNames,
    result: Result,
    seen: set[tuple[str, str]],
) -> Iterator[Entry]:
    """Yield a ledger entry for every difference between a split and its ``result``.

    class_names: classes of the labels of the original split.  listed: classes as the split itself lists them.
    seen: kinds and locations of skipped entries that another split has reported already; updated.
    """
    yield from _skipped(name, repair, seen)
    yield from _notes(name, repair, seen)
    yield from _images(name, repair, result)
    yield from _objects(name, repair, class_names, listed, result)


def _skipped(name: str, repair: SplitRepair, seen: set[tuple[str, str]]) -> Iterator[Entry]:
    for entry in repair.original.skipped:
        location = ", ".join(filter(None, (entry.location.file, entry.location.entry)))
        if KINDS[entry.kind].subject == "image" and entry.image >= 0:
            repair.image_reasons[entry.image][entry.kind] = None
            if not entry.raw:
                continue
        if (entry.kind, location) not in seen or entry.image >= 0:
            seen.add((entry.kind, location))
            text = entry.raw or entry.location.value
            yield {
                "split": name, "change": "entry skipped", "reasons": [entry.kind], "location": location, "text": text
            }  # fmt: skip


def _notes(name: str, repair: SplitRepair, seen: set[tuple[str, str]]) -> Iterator[Entry]:
    for entry in repair.original.notes:
        location = str(entry.location)
        if (entry.kind, location) not in seen:
            seen.add((entry.kind, location))
            yield {
                "split": name, "change": "entry read differently", "reasons": [entry.kind],
                "location": ", ".join(filter(None, entry.location[:2])), "text": entry.location.value
            }  # fmt: skip


def _images(name: str, repair: SplitRepair, result: Result) -> Iterator[Entry]:
    original = repair.original.table
    row_of = {row: new for new, row in enumerate(repair.table.image_ids.tolist())}
    for row in range(len(original)):
        before = _image(original, row, original.names[row])
        after = _image(result.table, row_of[row], result.names[row_of[row]]) if row in row_of else None
        yield from _difference(name, "image", before["file_name"], before, after, repair.image_reasons[row])


def _objects(
    name: str, repair: SplitRepair, class_names: ClassNames, listed: ClassNames, result: Result
) -> Iterator[Entry]:
    original = repair.original.table
    ids = dict(zip(listed.names, listed.ids, strict=True))
    row_of = {row: new for new, row in enumerate(repair.table.annotation_ids.tolist())}
    images = original.images.tolist()
    for row in range(len(original.labels)):
        before = _object(original, row, images[row], class_names)
        before["category_id"] = ids.get(before["category"], before["category_id"])
        reasons = dict(repair.object_reasons.get(row, {}))
        after = None
        if row in row_of:
            after = {**_object(result.table, row_of[row], 0, result.class_names), "image": before["image"]}
            if after["category"] != before["category"]:
                reasons[merge_reason(before["category"], after["category"])] = None
            elif after["category_id"] != before["category_id"]:
                reasons["category_id_conflict"] = None
        yield from _difference(
            name, "object", before["image"], before, after, reasons or repair.image_reasons[images[row]]
        )


def merge_reason(name: str, new: str) -> str:
    """Return the kind of problem for which a class was renamed."""
    return "similar_class_names" if similar_names(ClassNames((name, new))) else "instance_numbers"


def _difference(
    split: str, subject: str, image: str, before: Entry, after: Entry | None, reasons: Iterable[str]
) -> Iterator[Entry]:
    """Yield the entry of one image or object, or nothing if it did not change."""
    head = {"split": split, "image": image}
    if after is None:
        yield {**head, "change": f"{subject} removed", "reasons": list(reasons), "before": before}
        return
    changed = [key for key in before if before[key] != after[key]]
    if any(before[key] is not None for key in changed):
        values = {"before": {key: before[key] for key in changed}, "after": {key: after[key] for key in changed}}
        yield {**head, "change": f"{subject} changed", "id": after["id"], "reasons": list(reasons), **values}


def _image(table: Table, row: int, name: str) -> Entry:
    """Return an image as plain values; an unknown size is None."""
    height, width = table.image_hw[row].tolist()
    return {"file_name": name, "width": width or None, "height": height or None, "id": int(table.image_ids[row])}


def _object(table: Table, row: int, image: int, class_names: ClassNames) -> Entry:
    """Return an object as plain values; a missing box, mask or area is None."""
    box, area, mask = table.boxes[row], float(table.areas[row]), table.mask(row)
    return {
        "image": table.names[image],
        "id": int(table.annotation_ids[row]),
        "category": class_names.name(int(table.labels[row])),
        "category_id": class_names.category_id(int(table.labels[row])),
        "box_xyxy": None if np.isnan(box[0]) else box.tolist(),
        "segmentation": None if mask is None else masks.to_json(mask),
        "area": None if np.isnan(area) else area,
        "iscrowd": int(table.iscrowd[row]),
    }


def to_jsonl(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the content of the ledger file."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def summary_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line per kind of change, with its count and reasons."""
    counts = Counter((entry["change"], ", ".join(entry["reasons"])) for entry in entries)
    for (change, reasons), count in counts.most_common():
        yield f"{change}: {count}" + (f" ({reasons})" if reasons else "")
    if not counts:
        yield "no changes needed"
