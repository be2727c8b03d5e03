"""Runs a model on the images of a dataset and translates its labels to those of the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detect import distributed
from detect.data.dataset import read_record
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
) -> list[Detections]:
    """Return the detections in every image of ``records``, with labels of the dataset's ``class_names``.

    threshold: minimum score, 0..1; by default the predictor's.
    title: text of the progress bar.

    With several processes each one runs the model on a part of the images; every process gets all results.
    """
    detections = detect_records(predictor, records, threshold=threshold, title=title)
    return to_dataset_labels(detections, predictor.class_names, class_names)


def detect_records(
    predictor: Predictor, records: Sequence[ImageRecord], *, threshold: float | None = None, title: str = ""
) -> list[Detections]:
    """Return the detections in every image of ``records``, with labels of the model. Images are read one at a time."""
    process = distributed.world()
    own = range(process.rank, len(records), process.size)
    detections = {
        i: predictor.predict_batch([read_record(records[i])], threshold=threshold)[0] for i in bar(own, desc=title)
    }
    everywhere = {i: one for part in distributed.all_gather(detections) for i, one in part.items()}
    return [everywhere[i] for i in range(len(records))]


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
        warn(f"{data_name}: the model does not have {first_few(missing)}, which will score 0")


def to_dataset_labels(detections: Sequence[Detections], model: ClassNames, data: ClassNames) -> list[Detections]:
    """Replace the labels of a model by those of a dataset, matching class names. Detections of classes that the
    dataset does not have are dropped."""
    label_of = {label: data.label(name) for label, name in enumerate(model.names, 1) if name in data.names}
    return [_replace_labels(one, label_of, data) for one in detections]


def _replace_labels(detections: Detections, label_of: dict[int, int], class_names: ClassNames) -> Detections:
    known = detections.filter(labels=list(label_of))
    labels = np.array([label_of[label] for label in known.labels.tolist()], np.int64)
    return replace(known, labels=labels, class_names=class_names)
