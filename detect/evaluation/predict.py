"""Runs a model on the images of a dataset and translates its labels to those of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, overload

import numpy as np

from detect import distributed
from detect.data.dataset import read_record
from detect.data.image_problems import ImageProblems, UnreadableImageError
from detect.data.table import Table
from detect.errors import UsageError
from detect.progress import bar, warn
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.text import first_few

EVALUATION_THRESHOLD = 0.05
"""Minimum score of detections that are evaluated. torchvision and Detectron2 use the same, so results compare."""


class BatchDetector(Protocol):
    """What ``detect_for_dataset`` needs of a predictor."""

    @property
    def class_names(self) -> ClassNames: ...

    def predict_batch(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]: ...


def detect_for_dataset(
    predictor: BatchDetector,
    records: Sequence[ImageRecord],
    class_names: ClassNames,
    *,
    threshold: float | None = None,
    title: str = "evaluate",
    problems: ImageProblems | None = None,
    change_image: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Detections | None]:
    """Return the detections in every image of ``records``, with labels of the dataset's ``class_names``.

    threshold: minimum score, 0..1; by default the predictor's.
    title: text of the progress bar.
    problems: receives the images that cannot be read completely. The result of an unreadable image is None; see
        ``only_readable``. A truncated JPEG is used as far as it can be decoded.
    change_image: function that is applied to each image, uint8 RGB [H, W, 3], before the model processes it.
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
        image = image if change_image is None else change_image(image)
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


def detect_in_readable(
    predictor: BatchDetector, records: Table, class_names: ClassNames, name: str, *, title: str = "evaluate"
) -> tuple[Table, list[Detections]]:
    """Return the images that can be read and the detections with evaluated scores in them; warn of the others.

    name: the images in words, for the warning.  title and errors: as in ``detect_for_dataset``.
    """
    problems = ImageProblems()
    found = detect_for_dataset(
        predictor, records, class_names, threshold=EVALUATION_THRESHOLD, title=title, problems=problems
    )
    for line in problems.lines("left out"):
        warn(f"{name}: {line}")
    return only_readable(records, found)


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
    require_shared_classes(model, data, data_name)
    if missing := [name for name in data.names if name not in model.names]:
        warn(f"{data_name}: the model lacks these classes and detects none of their objects: {first_few(missing)}")


def require_shared_classes(model: ClassNames, data: ClassNames, data_name: str, model_name: str = "the model") -> None:
    """Raise UsageError if a model and a dataset have no class name in common.

    data_name, model_name: dataset and model in words, for the message.
    """
    if not set(model.names) & set(data.names):
        raise UsageError(
            f"{data_name} and {model_name} have no class in common: the dataset has {first_few(data.names)}, "
            f"the model has {first_few(model.names)}"
        )
