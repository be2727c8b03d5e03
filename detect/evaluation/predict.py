"""Detections of a model on the images of a dataset, with the labels of the dataset."""

from __future__ import annotations

from collections.abc import Sequence

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

# torchvision and Detectron2 score what is above 0.05; so does this, to compare with them.
SCORE_FLOOR = 0.05


def detect_records(predictor: Predictor, records: Sequence[ImageRecord], *, title: str = "") -> list[Detections]:
    """Detections for every record, read from its file one at a time; each process looks at its share of them."""
    here = distributed.world()
    mine = range(here.rank, len(records), here.size)
    found = {i: predictor([read_record(records[i])])[0] for i in bar(mine, desc=title)}
    everywhere = {i: one for part in distributed.gathered(found) for i, one in part.items()}
    return [everywhere[i] for i in range(len(records))]


def check_classes(model: ClassNames, data: ClassNames, what: str) -> None:
    """UsageError where a model and a dataset (``what``) share no class name, a warning where the model lacks some."""
    strangers = [name for name in data.names if name not in model.names]
    if len(strangers) == len(data):
        raise UsageError(
            f"{what} and the model share no class: the data has {first_few(data.names)}, "
            f"the model knows {first_few(model.names)}"
        )
    if strangers:
        warn(f"{what}: the model does not know {first_few(strangers)}, which will score 0")


def found_in(
    predictor: Predictor, records: Sequence[ImageRecord], class_names: ClassNames, *, title: str = "evaluate"
) -> list[Detections]:
    """What ``predictor`` finds in each of ``records``, with the labels of ``class_names``; see ``relabel``."""
    return relabel(detect_records(predictor, records, title=title), predictor.class_names, class_names)


def relabel(found: Sequence[Detections], model: ClassNames, data: ClassNames) -> list[Detections]:
    """Detections with the labels of ``data`` in place of those of ``model``, by the names of the classes and not by
    their positions; what is of a class that the data does not know is left out."""
    label_of = {i: data.label(name) for i, name in enumerate(model.names, 1) if name in data.names}
    return [_relabel(one, label_of) for one in found]


def _relabel(found: Detections, label_of: dict[int, int]) -> Detections:
    known = found.filter(labels=list(label_of))
    labels = np.array([label_of[label] for label in known.labels.tolist()], np.int64)
    return Detections(known.image_hw, known.boxes, known.scores, labels, known.masks, known.keypoints)
