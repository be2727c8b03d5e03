"""Repaired copy of a dataset, with a ledger of every change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from detect.data.exporters import get_exporter
from detect.data.exporters.file_names import choose_names
from detect.data.quality.repair import ledger, steps
from detect.data.quality.repair.class_merging import merge_similar_classes
from detect.data.quality.repair.split import SplitRepair
from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.errors import DataError
from detect.media import formats
from detect.media.images import read_header
from detect.progress import warn
from detect.structures.class_names import ClassNames

FORMAT = "coco"  # of the repaired copy; it can represent everything that is read


@dataclass(frozen=True)
class Repair:
    """A repaired dataset in memory.

    class_names: classes after merging similar names.
    tables: images and objects by split.
    names: new file names of the images by split.
    entries: entries of the ledger.
    """

    class_names: ClassNames
    tables: dict[str, Table]
    names: dict[str, list[str]]
    entries: list[ledger.Entry]


def repair(spec: DatasetSpec, iscrowd: str = "keep", *, merge_suffixes: bool = False) -> Repair:
    """Return a repaired copy of all splits. Writes nothing.

    iscrowd: "ignore" to make single objects of crowds.
    merge_suffixes: whether to merge classes that number the objects of each image.
    Raises DataError if annotation files cannot be read, if most images are missing, if nothing is left, and if there
    are no suffixes to merge.
    """
    splits, fingerprints = {}, {}
    before, listed = spec.all_classes(), spec.classes_per_split()
    for name in spec.splits:
        _, original = spec.select(name, before)
        splits[name] = SplitRepair.start(original)
        if iscrowd == "ignore":
            steps.make_crowds_objects(splits[name])
        steps.fit_to_images(splits[name])
        fingerprints[name] = steps.remove_invalid(splits[name], name)
    steps.remove_copies(splits, fingerprints)
    current = [split.table for split in splits.values()]
    class_names, label_of, renamed = merge_similar_classes(before, current, merge_suffixes=merge_suffixes)
    for split in splits.values():
        split.table = replace(split.table, labels=label_of[split.table.labels])
        steps.fix_shapes(split)
    empty = _clear_splits_without_objects(spec.name, splits)
    tables = {name: split.with_original_ids() for name, split in splits.items()}
    wanted = {name: [_true_name(table, i) for i in range(len(table))] for name, table in tables.items()}
    names = choose_names(tables, get_exporter(FORMAT), wanted)
    seen: set[tuple[str, str]] = set()
    entries = list(renamed)
    for name, split in splits.items():
        result = ledger.Result(tables[name], names[name], class_names)
        entries += ledger.entries(name, split, before, listed[name], result, seen)
    tables = {name: table for name, table in tables.items() if name not in empty}
    return Repair(class_names, tables, names, entries)


def _clear_splits_without_objects(dataset: str, splits: dict[str, SplitRepair]) -> list[str]:
    """Remove all images of splits without objects and return the names of these splits.

    Raises DataError if the split to train on has no objects.
    """
    empty = [name for name, split in splits.items() if not len(split.table.labels)]
    for name in empty:
        split = splits[name]
        for row in split.table.image_ids.tolist():
            split.image_reasons[row]["split_without_objects"] = None
        split.table = split.table.take_images(np.zeros(0, np.int64))
    if ("train" if "train" in splits else next(iter(splits))) in empty:
        raise DataError(f"dataset '{dataset}': no training object is left after the repair; see doctor.py check")
    if empty:
        warn(f"dataset '{dataset}': no object is left in {' and '.join(empty)}, which the copy does not contain")
    return empty


def _true_name(table: Table, image: int) -> str:
    """Return the file name of an image with the extension of its actual format."""
    name, form = PurePosixPath(table.names[image]), read_header(table.path(image)).form
    suffix = formats.usual_suffix(form)
    return table.names[image] if formats.suits(name.suffix, form) or not suffix else str(name.with_suffix(suffix))
