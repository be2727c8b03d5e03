"""Runs a model on the images of a dataset and translates its labels to those of the dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


class ImageSource(Protocol):
    """Reads the images of a dataset that this process runs the model on.

    problems: the images that could not be read completely, known after the iteration.
    An item is a batch of (row in the dataset, image uint8 RGB [H, W, 3] or None if it cannot be read).
    """

    problems: ImageProblems

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sequence[tuple[int, np.ndarray | None]]]: ...


class _OneByOne:
    """Reads every ``size``-th image of ``records`` in this process, one at a time, where ``size`` processes run."""

    def __init__(self, records: Sequence[ImageRecord]) -> None:
        here = distributed.world()
        self._records, self._rows = records, range(here.rank, len(records), here.size)
        self.problems = ImageProblems()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[list[tuple[int, np.ndarray | None]]]:
        for i in self._rows:
            path = self._records[i].path
            try:
                yield [(i, read_record(self._records[i], partial(self.problems.add_truncated, path)))]
            except UnreadableImageError as error:
                self.problems.add_unreadable(path, error)
                yield [(i, None)]


def detect_for_dataset(
    predictor: BatchDetector,
    records: Sequence[ImageRecord],
    class_names: ClassNames,
    *,
    threshold: float | None = None,
    title: str = "evaluate",
    problems: ImageProblems | None = None,
    change_image: Callable[[np.ndarray], np.ndarray] | None = None,
    source: ImageSource | None = None,
) -> list[Detections | None]:
    """Return the detections in every image of ``records``, with labels of the dataset's ``class_names``.

    threshold: minimum score, 0..1; by default the predictor's.
    title: text of the progress bar.
    problems: receives the images that cannot be read completely. The result of an unreadable image is None; see
        ``only_readable``. A truncated JPEG is used as far as it can be decoded.
    change_image: function that is applied to each image, uint8 RGB [H, W, 3], before the model processes it.
    source: reads this process' images; by default every ``size``-th one, one at a time, in this process.
    Raises DataError if more than half of the images cannot be read.

    Classes are matched by name; detections of classes that the dataset does not have are dropped. With several
    processes each one runs the model on a part of the images; every process gets all results.
    """
    names = enumerate(predictor.class_names.names, 1)
    label_of = {label: class_names.label(name) for label, name in names if name in class_names.names}
    source = source or _OneByOne(records)
    own: dict[int, Detections | None] = {}
    for batch in bar(source, desc=title):
        own |= {i: None for i, image in batch if image is None}
        readable = {
            i: image if change_image is None else change_image(image) for i, image in batch if image is not None
        }
        found = predictor.predict_batch(list(readable.values()), threshold=threshold) if readable else []
        for i, one in zip(readable, found, strict=True):
            one = one.filter(labels=list(label_of))
            labels = np.array([label_of[label] for label in one.labels.tolist()], np.int64)
            own[i] = replace(one, labels=labels, class_names=class_names)
    found_problems = ImageProblems()
    every: dict[int, Detections | None] = {}
    for part, others in distributed.all_gather((own, source.problems)):
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
