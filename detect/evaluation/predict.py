"""Runs a model on the images of a dataset and translates its labels to those of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import overload

import numpy as np

from detect import distributed
from detect.data.dataset import read_record
from detect.data.image_problems import ImageProblems, UnreadableImageError
from detect.data.table import Table
from detect.errors import UsageError
from detect.inference.predictor import Predictor
from detect.progress import bar, warn
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import first_few

EVALUATION_THRESHOLD = 0.05
"""Minimum score of detections that are evaluated. torchvision and Detectron2 use the same, so results compare."""


def detect_for_dataset(
    predictor: Predictor,
    records: Sequence[ImageRecord],
    class_names: ClassNames,
    *,
    threshold: float | None = None,
    title: str = "evaluate",
    problems: ImageProblems | None = None,
) -> list[Detections | None]:
    """Return the detections in every image of ``records``, with labels of the dataset's ``class_names``.

    threshold: minimum score, 0..1; by default the predictor's.
    title: text of the progress bar.
    problems: receives the images that cannot be read completely. The result of an unreadable image is None; see
        ``only_readable``. A truncated JPEG is used as far as it can be decoded.
    Raises DataError if more than half of the images cannot be read.

    Classes are matched by name; detections of classes that the dataset does not have are dropped. Images are read one
    at a time. With several processes each one runs the model on a part of the images; every process gets all results.
    """
    names = enumerate(predictor.class_names.names, 1)
    label_of = {label: class_names.label(name) for label, name in names if name in class_names.names}
    process = distributed.world()
    own: dict[int, Detections | None] = {}
    found_problems = ImageProblems()
    for i in bar(range(process.rank, len(records), process.size), desc=title):
        try:
            image = read_record(records[i], partial(found_problems.add_truncated, records[i].path))
        except UnreadableImageError as error:
            found_problems.add_unreadable(records[i].path, error)
            own[i] = None
            continue
        (found,) = predictor.predict_batch([image], threshold=threshold)
        found = found.filter(labels=list(label_of))
        labels = np.array([label_of[label] for label in found.labels.tolist()], np.int64)
        own[i] = replace(found, labels=labels, class_names=class_names)
    every: dict[int, Detections | None] = {}
    for part, others in distributed.all_gather((own, found_problems)):
        every |= part
        found_problems.update(others)
    found_problems.check(len(records), "images")
    if problems is not None:
        problems.update(found_problems)
    return [every[i] for i in range(len(records))]


@overload
def only_readable(records: Table, detections: Sequence[Detections | None]) -> tuple[Table, list[Detections]]: ...
@overload
def only_readable(
    records: Sequence[ImageRecord], detections: Sequence[Detections | None]
) -> tuple[Sequence[ImageRecord], list[Detections]]: ...
def only_readable(
    records: Sequence[ImageRecord], detections: Sequence[Detections | None]
) -> tuple[Sequence[ImageRecord], list[Detections]]:
    """Return the records and the detections of ``detect_for_dataset`` without the images that could not be read."""
    kept = [i for i, found in enumerate(detections) if found is not None]
    if len(kept) < len(records):
        records = records.take_images(np.array(kept)) if isinstance(records, Table) else [records[i] for i in kept]
    return records, [found for found in detections if found is not None]


def check_shared_classes(model: ClassNames, data: ClassNames, data_name: str) -> None:
    """Raise UsageError if a model and a dataset have no class name in common; warn if the model lacks some.

    data_name: the dataset in words, for the message.
    """
    missing = [name for name in data.names if name not in model.names]
    if len(missing) == len(data):
        raise UsageError(
            f"{data_name} and the model have no class in common: the dataset has {first_few(data.names)}, "
            f"the model has {first_few(model.names)}"
        )
    if missing:
        warn(f"{data_name}: the model lacks these classes and detects none of their objects: {first_few(missing)}")
