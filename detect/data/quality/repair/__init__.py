"""A repaired copy of a dataset: what can be put right is, what cannot is left out, and a ledger tells of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from detect.data.exporters import EXPORTERS
from detect.data.exporters.file_names import choose_names
from detect.data.quality.checks.classes import count_objects, similar
from detect.data.quality.repair import ledger, steps
from detect.data.quality.repair.split import Case
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.errors import DataError
from detect.media import formats
from detect.media.images import read_header
from detect.progress import warn
from detect.structures.class_names import ClassNames

FORMAT = "coco"  # which can hold everything


@dataclass(frozen=True)
class Repair:
    """tables: the repaired splits.  names: that the images of each get.  entries: of the ledger."""

    class_names: ClassNames
    tables: dict[str, Table]
    names: dict[str, list[str]]
    entries: list[ledger.Entry]


def repair(spec: DatasetSpec) -> Repair:
    """All splits of a dataset, repaired; nothing is written. Raises what reading raises where files are of no format
    at all, and where most images are not there."""
    cases, looks = {}, {}
    before, lists = spec.all_classes(), spec.classes_per_split()
    for split in spec.splits:
        _, draft = spec.select(split, before)
        cases[split] = Case.of(draft)
        steps.put_on_images(cases[split])
        looks[split] = steps.leave_out_broken(cases[split])
    steps.leave_out_copies(cases, looks)
    class_names, label_of, renamed = _one_name_each(before, [case.table for case in cases.values()])
    for case in cases.values():
        case.table = replace(case.table, labels=label_of[case.table.labels])
        steps.redraw(case)
    empty = [split for split, case in cases.items() if not len(case.table.labels)]
    for split in empty:
        for one in cases[split].table.image_ids.tolist():
            cases[split].image_whys[one]["no_objects"] = None
        cases[split].table = cases[split].table.take_images(np.zeros(0, np.int64))
    if not len(cases["train" if "train" in cases else next(iter(cases))].table.labels):
        raise DataError(f"dataset '{spec.name}': nothing would be left to train on; see doctor.py check")
    if empty:
        warn(f"dataset '{spec.name}': no object is left in {' and '.join(empty)}, so that it is left out")
    tables = {split: case.with_own_ids() for split, case in cases.items()}
    wanted = {split: [_with_true_suffix(table, i) for i in range(len(table))] for split, table in tables.items()}
    names = choose_names(tables, EXPORTERS[FORMAT], wanted)
    seen: set[tuple[str, str]] = set()
    entries = [
        entry
        for split, case in cases.items()
        for entry in ledger.entries(
            split, case, before, lists[split], ledger.Now(tables[split], names[split], class_names), seen
        )
    ]
    tables = {split: table for split, table in tables.items() if split not in empty}
    return Repair(class_names, tables, names, renamed + entries)


def _with_true_suffix(table: Table, image: int) -> str:
    """The image's name with the suffix of what it is."""
    name, form = PurePosixPath(table.names[image]), read_header(table.path(image)).form
    suffix = formats.usual_suffix(form)
    return table.names[image] if formats.suits(name.suffix, form) or not suffix else str(name.with_suffix(suffix))


def _one_name_each(
    class_names: ClassNames, tables: Sequence[Table]
) -> tuple[ClassNames, np.ndarray, list[ledger.Entry]]:
    """Classes whose names differ in capitals or spaces alone become that which has most objects: the new classes, the
    new label of each old one, int64 [K + 1], and lines of the ledger."""
    counts = sum((count_objects(table, class_names) for table in tables), np.zeros(len(class_names), np.int64))
    kept_as = {name: name for name in class_names.names}
    for same in similar(class_names):
        kept_as |= dict.fromkeys(same, max(same, key=lambda name: counts[class_names.label(name) - 1]))
    kept = [name for name in class_names.names if kept_as[name] == name]
    new = ClassNames(tuple(kept), tuple(class_names.ids[class_names.names.index(name)] for name in kept))
    label_of = np.array([0, *(new.label(kept_as[name]) for name in class_names.names)], np.int64)
    renamed = [
        {"split": None, "change": "class renamed", "why": ["similar_classes"], "from": name, "to": to}
        for name, to in kept_as.items()
        if name != to
    ]
    return new, label_of, renamed
