"""What a repair changed, from what to what and why: JSON lines from which the original values can be had back.

Each line is a dict with ``split``, ``change``, ``why`` (kinds of problems) and

- of a "image removed" or an "object removed": ``from``, all that is known of it,
- of a "image changed" or an "object changed": its ``id`` in the new file, and ``from`` and ``to`` with those of its
  values that are others now. Values that the original does not say, null there, are computed; where nothing else is
  changed, that is not told,
- of what was "left out" without ever being an object: its ``place`` and its ``text`` in the file,
- of a "class renamed": ``from`` and ``to``; each of its objects has a line too.

An image is ``file_name``, ``width``, ``height`` and ``id``; an object is ``image`` (its name in the original),
``id``, ``category``, ``category_id``, ``box_xyxy``, ``segmentation``, ``area`` and ``iscrowd``, all but the box as in
COCO. That is all that is read of a dataset: keypoints, attributes, licences and so on are not carried over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from detect.data.columns import NONE
from detect.data.quality.problems import KINDS
from detect.data.quality.repair.split import Case
from detect.data.table import Table
from detect.structures import masks
from detect.structures.class_names import ClassNames

Entry = dict[str, Any]


class Now(NamedTuple):
    """A split as it is in the new dataset. names: of its images."""

    table: Table
    names: Sequence[str]
    class_names: ClassNames


def entries(
    split: str, case: Case, class_names: ClassNames, own: ClassNames, now: Now, seen: set[tuple[str, str]]
) -> Iterator[Entry]:
    """Everything that is otherwise ``now`` than in the original of ``case``, whose labels are of ``class_names``.

    own: the classes as the split itself lists them.
    seen: what was left out of no image and told of another split; it grows.
    """
    ids = dict(zip(own.names, own.ids, strict=True))
    table, names = now.table, now.names
    before = case.original.table
    for reject in case.original.skipped:
        place = ", ".join(filter(None, (reject.place.file, reject.place.where)))
        if KINDS[reject.kind].of == "image" and reject.image >= 0:
            case.image_whys[reject.image][reject.kind] = None
            if not reject.raw:
                continue
        if (reject.kind, place) not in seen or reject.image >= 0:
            seen.add((reject.kind, place))
            value = reject.raw or reject.place.value
            yield {"split": split, "change": "left out", "why": [reject.kind], "place": place, "text": value}
    row_of = {one: row for row, one in enumerate(case.table.image_ids.tolist())}
    for one in range(len(before)):
        was, why = _image(before, one, before.names[one]), case.image_whys[one]
        is_now = _image(table, row_of[one], names[row_of[one]]) if one in row_of else None
        yield from _entry(split, "image", was["file_name"], was, is_now, why)
    row_of = {one: row for row, one in enumerate(case.table.annotation_ids.tolist())}
    images = before.images.tolist()
    for one in range(len(before.labels)):
        was = _thing(before, one, images[one], class_names)
        was["category_id"] = ids.get(was["category"], was["category_id"])
        why = dict(case.object_whys.get(one, {}))
        is_now = None
        if one in row_of:
            is_now = {**_thing(table, row_of[one], 0, now.class_names), "image": was["image"]}
            if is_now["category"] != was["category"]:
                why["similar_classes"] = None
            elif is_now["category_id"] != was["category_id"]:
                why["other_classes"] = None
        yield from _entry(split, "object", was["image"], was, is_now, why or case.image_whys[images[one]])


def _entry(split: str, of: str, name: str, was: Entry, is_now: Entry | None, why: Iterable[str]) -> Iterator[Entry]:
    """What became of one image or object; nothing where it is as it was."""
    head = {"split": split, "image": name}
    if is_now is None:
        yield {**head, "change": f"{of} removed", "why": list(why), "from": was}
        return
    changed = [key for key in was if was[key] != is_now[key]]
    if any(was[key] is not None for key in changed):
        values = {"from": {key: was[key] for key in changed}, "to": {key: is_now[key] for key in changed}}
        yield {**head, "change": f"{of} changed", "id": is_now["id"], "why": list(why), **values}


def _image(table: Table, row: int, name: str) -> Entry:
    """An image in plain values; a size that is not known is null."""
    height, width = table.image_hw[row].tolist()
    return {"file_name": name, "width": width or None, "height": height or None, "id": int(table.image_ids[row])}


def _thing(table: Table, row: int, image: int, class_names: ClassNames) -> Entry:
    """An object in plain values."""
    box, area, mask = table.boxes[row], float(table.areas[row]), int(table.mask_rows[row])
    segmentation: Any = None
    if table.masks.kinds[mask] != NONE:
        written = table.masks[mask]
        if isinstance(written, dict):
            segmentation = masks.to_json(written)
        else:
            segmentation = [np.asarray(polygon).tolist() for polygon in written]
    return {
        "image": table.names[image],
        "id": int(table.annotation_ids[row]),
        "category": class_names.name(int(table.labels[row])),
        "category_id": class_names.category_id(int(table.labels[row])),
        "box_xyxy": None if np.isnan(box[0]) else box.tolist(),
        "segmentation": segmentation,
        "area": None if np.isnan(area) else area,
        "iscrowd": int(table.iscrowd[row]),
    }


def text(entries: Iterable[Mapping[str, Any]]) -> str:
    """The content of a ledger's file."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def counted(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each sort of change, with its count and its reasons."""
    counts = Counter((entry["change"], ", ".join(entry["why"])) for entry in entries)
    yield from (f"{change}: {count} ({why})" for (change, why), count in counts.most_common())
    if not counts:
        yield "nothing had to be changed"
