"""What a model makes of images that were decoded no larger than it needs them, which come out a little softer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.decoding import WAYS, Way, is_reduced
from detect import progress
from detect.data.dataset import to_tensor
from detect.data.spec import DatasetSpec
from detect.errors import DataError
from detect.evaluation import coco_metrics
from detect.evaluation.bootstrap import INTERVAL_METRICS, resampled_precisions, match_detections, nan_mean
from detect.evaluation.coco_rows import to_coco_rows
from detect.evaluation.predict import EVALUATION_THRESHOLD, check_shared_classes, to_dataset_labels
from detect.inference.load import load_model
from detect.inference.predictor import Predictor
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord

DRAWS = 1000

Figures = Mapping[str, float]
"""0..1, by words such as ``bbox AP``."""


@dataclass(frozen=True)
class Sharpness:
    """COCO's figures of one model on images resized to ``imgsz`` both ways.

    splits: those that were scored together.  reduced: how many of ``images`` are decoded at less than all pixels.
    scores: by way.  low, high: between these lie 95 of 100 differences (reduced less whole) when the images are
        drawn anew, as many and with replacement.  losing: share of the draws, 0..1, in which the difference is a loss.
    """

    imgsz: int
    splits: tuple[str, ...]
    images: int
    objects: int
    reduced: int
    scores: Mapping[str, Figures]
    low: Figures
    high: Figures
    losing: Figures

    @property
    def differences(self) -> Figures:
        """Of the reduced way to the whole one."""
        whole, reduced = (self.scores[way] for way in WAYS)
        return {key: reduced[key] - whole[key] for key in whole}


def load_at(model: str, imgsz: int, device: str) -> Predictor:
    """The predictor of ``--model`` that looks at images with a short side of ``imgsz`` pixels, or of its own where
    it knows but one."""
    predictor = load_model(model, device=device, threshold=EVALUATION_THRESHOLD)
    if not predictor.model.transform.fixed_size:
        predictor.model.transform.set_size(imgsz)
    return predictor


def read_scored(spec: DatasetSpec, model: ClassNames) -> tuple[tuple[str, ...], ClassNames, list[ImageRecord]]:
    """Names, classes and records of the splits to score: val and test, as far as there are these, else train.

    UsageError where the model knows none of the classes, DataError where there is nothing to find.
    """
    splits = tuple(split for split in ("val", "test") if split in spec.splits) or ("train",)
    parts = [spec.read(split) for split in splits]
    names = parts[0][0]
    if any(other.names != names.names for other, _ in parts):
        raise DataError(f"dataset '{spec.name}': {' and '.join(splits)} do not list the same classes in one order")
    check_shared_classes(model, names, f"dataset '{spec.name}'")
    records = [record for _, some in parts for record in some]
    if all(record.iscrowd.all() for record in records):
        raise DataError(f"dataset '{spec.name}': not one image of {' and '.join(splits)} has an object to find")
    return splits, names, records


def compare(
    predictor: Predictor, splits: tuple[str, ...], names: ClassNames, records: Sequence[ImageRecord]
) -> Sharpness:
    """The model looks at every image both ways."""
    found = {
        name: to_dataset_labels(
            detect_prepared(predictor, records, way, title=f"detecting, {name}"), predictor.class_names, names
        )
        for name, way in WAYS.items()
    }
    whole, reduced = (_drawn(records, found[name], names) for name in WAYS)  # the same draws
    changes = {key: reduced[key] - whole[key] for key in whole}
    transform = predictor.model.transform
    return Sharpness(
        imgsz=transform.min_size[-1],
        splits=splits,
        images=len(records),
        objects=sum(map(len, records)),
        reduced=sum(is_reduced(record, transform.resized_hw(record.image_hw)) for record in records),
        scores={name: _figures(records, some, names) for name, some in found.items()},
        low={key: float(np.nanquantile(change, 0.025)) for key, change in changes.items()},
        high={key: float(np.nanquantile(change, 0.975)) for key, change in changes.items()},
        losing={key: float(np.mean(change < 0)) for key, change in changes.items()},
    )


def detect_prepared(
    predictor: Predictor, records: Sequence[ImageRecord], way: Way, *, title: str = ""
) -> list[Detections]:
    """Detections for every record, on its original pixels, in an image that ``way`` has resized for the model."""
    transform = predictor.model.transform
    found = []
    for record in progress.bar(records, desc=title):
        prepared = to_tensor(way(record, transform.resized_hw(record.image_hw))).to(predictor.device)
        with _in_place_of_resizing(transform, prepared):
            found += predictor.predict_batch([np.zeros((*record.image_hw, 3), np.uint8)])  # of which only the size counts
    return found


@contextmanager
def _in_place_of_resizing(transform: Any, prepared: Tensor) -> Iterator[None]:
    """The model's transform takes this image, float32 [3, h, w] in 0..1, for what it has resized."""
    transform.resized = lambda _: prepared
    try:
        yield
    finally:
        del transform.resized


def _figures(records: Sequence[ImageRecord], found: Sequence[Detections], names: ClassNames) -> Figures:
    metrics = coco_metrics.score(records, found, names)
    return {
        f"{kind} {figure}": metrics[kind][figure] for kind in ("bbox", "segm") if kind in metrics for figure in INTERVAL_METRICS
    }


def _drawn(records: Sequence[ImageRecord], found: Sequence[Detections], names: ClassNames) -> dict[str, np.ndarray]:
    """The figures of each draw of the images, [DRAWS]."""
    rows = to_coco_rows(records, found, names)
    values = {kind: nan_mean(resampled_precisions(match_detections(rows, kind), DRAWS, seed=0)) for kind in rows.kinds}
    return {f"{kind} {figure}": of for kind in values for figure, of in zip(INTERVAL_METRICS, values[kind], strict=True)}
