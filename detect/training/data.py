"""The data of a training: a train and a val split, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from detect import distributed
from detect.data.backgrounds import with_backgrounds
from detect.data.description import find_spec
from detect.data.numbered_classes import instance_number_groups
from detect.data.quality.checks.classes import classes_in_use
from detect.data.quality.checks.siblings import describe_leak
from detect.data.table import Table
from detect.data.validation.crowds import describe_crowds, has_many_crowds, require_objects
from detect.errors import DataError
from detect.evaluation.predict import check_shared_classes
from detect.progress import report, warn
from detect.structures.class_names import ClassNames
from detect.text import counted, first_few


class TrainingData(NamedTuple):
    """Train and val split of a dataset.

    name: of the dataset.  splits: names of all its splits.
    class_names, train: classes and records of the train split, with background images.
    val_class_names, val: classes and records of the val split; the order of the classes may differ. Without records,
        the run does not validate.
    root, annotation_format: folder and format of the files; None and "" if they are not known.
    """

    name: str
    splits: tuple[str, ...]
    class_names: ClassNames
    train: Table
    val_class_names: ClassNames
    val: Table
    root: Path | None = None
    annotation_format: str = ""


def read_training_data(
    data: str, data_root: Path | None = None, annotation_format: str = "auto", backgrounds: str | None = None
) -> TrainingData:
    """Read and check the train and val splits of a dataset, which is downloaded or rendered first if necessary.

    data: name of a dataset, folder or YAML file.  data_root: folder of the files of a named dataset.
    backgrounds: folder or pattern of images without objects that are added to the train split.
    Of several processes, the first one reads and the others receive the result.
    Raises UsageError for an unknown dataset and DataError if a split has no objects or the classes do not match.
    """
    found = distributed.compute_on_first(lambda: _read(data, data_root, annotation_format, backgrounds))
    prepare_on_other_machines(found.train, data, data_root, annotation_format)
    return found


def prepare_on_other_machines(images: Table, data: str, data_root: Path | None, annotation_format: str) -> None:
    """Download or render the dataset on a machine that lacks the files of ``images``, which the first one has read."""
    here = distributed.world()
    if here.local_rank == 0 and not here.is_first and not images.path(0).exists():
        find_spec(data, data_root, annotation_format).prepare()
    distributed.all_gather(None)


def _read(data: str, data_root: Path | None, annotation_format: str, backgrounds: str | None) -> TrainingData:
    spec = find_spec(data, data_root, annotation_format)
    spec.prepare()
    if spec.discovery_note:
        report(spec.discovery_note)
    class_names, train = spec.read("train")
    if "val" not in spec.splits and len(train) == 1:
        raise DataError(f"dataset '{spec.name}' has 1 image; train and val need at least 2")
    val_class_names, val = spec.read("val")
    check_shared_classes(class_names, val_class_names, f"the val split of '{spec.name}'")
    for split, records in (("train", train), ("val", val)):
        check_annotations(records, f"dataset '{spec.name}': split '{split}'")
    if untrained := sorted(classes_in_use(val, val_class_names) - classes_in_use(train, class_names)):
        warn(f"dataset '{spec.name}': val has objects of classes without objects in train: {first_few(untrained)}")
    warn_of_numbered_classes(train, class_names, spec.name)
    if leak := describe_leak(train, val):
        again = f"; delete {spec.splits_file} to split again" if spec.splits_file else ""
        warn(f"dataset '{spec.name}': {leak}{again}; doctor.py check lists them")
    count, added = len(train), ""
    if backgrounds is not None:
        train = with_backgrounds(train, backgrounds, annotated=spec.image_paths())
        added = f" and {counted(len(train) - count, 'background image')}"
    images = f"{counted(count, 'image')}{added} for training, {len(val)} for validation"
    report(f"{spec.name}: {images}; {describe_objects(train, val, class_names)}")
    splits = tuple(spec.splits)
    return TrainingData(spec.name, splits, class_names, train, val_class_names, val, spec.root, spec.format)


def describe_objects(train: Table, val: Table, class_names: ClassNames) -> str:
    """Return ``95 and 30 objects of 3 classes: circle, square, triangle``, of the train and the val split."""
    classes = counted(len(class_names), "class", "classes")
    return f"{len(train.boxes)} and {len(val.boxes)} objects of {classes}: {first_few(class_names.names, 8)}"


def check_annotations(records: Table, where: str) -> None:
    """Raise DataError if no object can be learned, warn if most are crowds; ``where`` names the images."""
    require_objects(records, where)
    if has_many_crowds(records):
        warn(f"{where}: {describe_crowds(records)}")


def warn_of_numbered_classes(records: Table, class_names: ClassNames, dataset: str) -> None:
    """Warn if classes seem to number the objects of each image; ``dataset`` is its name."""
    for base, group in instance_number_groups([records], class_names).items():
        warn(
            f"dataset '{dataset}': the classes {first_few(group)} seem to number the objects of each image;"
            f" doctor.py fix --merge-suffixes writes a copy with one class, {base}"
        )


def image_names(records: Table) -> dict[int, str]:
    """Return image id -> file name, for messages."""
    return dict(zip(records.image_ids.tolist(), (PurePath(name).name for name in records.names), strict=True))


def evenly_spaced(items: Sequence[int], count: int) -> list[int]:
    """Return ``count`` items at equal distances, including the first and the last; all if there are fewer."""
    positions = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[position] for position in positions.tolist()]
