"""What a model makes of pictures that were decoded no larger than it needs them, which come out a little softer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from detect import masks, progress
from detect.benchmark.decoding import WAYS, Way, is_reduced
from detect.data.dataset import to_tensor
from detect.data.spec import DatasetSpec
from detect.engine import SCORE_FLOOR, check_classes, relabel
from detect.errors import DataError
from detect.metrics import coco
from detect.predictor import Predictor, load_predictor
from detect.types import ClassNames, Detections, ImageRecord

DRAWS = 200
_FIGURES = ("AP", "AP50")

Figures = Mapping[str, float]
"""0..1, by words such as ``bbox AP``."""


@dataclass(frozen=True)
class Sharpness:
    """COCO's figures of one model on pictures resized to ``imgsz`` both ways.

    splits: those that were scored together.  reduced: how many of ``pictures`` are decoded at less than all pixels.
    scores: by way.  low, high: between these lie 95 of 100 differences (reduced less whole) when the pictures are
        drawn anew, as many and with replacement.  losing: share of the draws, 0..1, in which the difference is a loss.
    """

    imgsz: int
    splits: tuple[str, ...]
    pictures: int
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
    """The predictor of ``--model`` that looks at pictures with a short side of ``imgsz`` pixels, or of its own where
    it knows but one."""
    predictor = load_predictor(model, device=device, threshold=SCORE_FLOOR)
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
        raise DataError(f"data set '{spec.name}': {' and '.join(splits)} do not list the same classes in one order")
    check_classes(model, names, f"data set '{spec.name}'")
    records = [_quick_to_score(record) for _, some in parts for record in some]
    if all(record.iscrowd.all() for record in records):
        raise DataError(f"data set '{spec.name}': not one picture of {' and '.join(splits)} has an object to find")
    return splits, names, records


def compare(
    predictor: Predictor, splits: tuple[str, ...], names: ClassNames, records: Sequence[ImageRecord]
) -> Sharpness:
    """The model looks at every picture both ways."""
    found = {
        name: relabel(
            detect_prepared(predictor, records, way, title=f"detecting, {name}"), predictor.class_names, names
        )
        for name, way in WAYS.items()
    }
    everything = range(len(records))
    scores = {name: _figures(records, some, names, everything) for name, some in found.items()}
    rng = np.random.default_rng(0)
    draws = []
    for _ in progress.bar(range(DRAWS), desc="drawing pictures anew"):
        drawn = rng.integers(len(records), size=len(records)).tolist()
        whole, reduced = (_figures(records, found[name], names, drawn) for name in WAYS)
        draws.append({key: reduced[key] - whole[key] for key in whole})
    low, high = (_quantiles(draws, q) for q in (0.025, 0.975))
    transform = predictor.model.transform
    return Sharpness(
        imgsz=transform.min_size[-1],
        splits=splits,
        pictures=len(records),
        objects=sum(map(len, records)),
        reduced=sum(is_reduced(record, transform.resized_hw(record.image_hw)) for record in records),
        scores=scores,
        low=low,
        high=high,
        losing={key: sum(draw[key] < 0 for draw in draws) / len(draws) for key in scores["whole"]},
    )


def detect_prepared(
    predictor: Predictor, records: Sequence[ImageRecord], way: Way, *, title: str = ""
) -> list[Detections]:
    """Detections for every record, on its original pixels, in a picture that ``way`` has resized for the model."""
    transform = predictor.model.transform
    found = []
    for record in progress.bar(records, desc=title):
        prepared = to_tensor(way(record, transform.resized_hw(record.image_hw))).to(predictor.device)
        with _in_place_of_resizing(transform, prepared):
            found += predictor([np.zeros((*record.image_hw, 3), np.uint8)])  # of which only the size counts
    return found


@contextmanager
def _in_place_of_resizing(transform: Any, prepared: Tensor) -> Iterator[None]:
    """The model's transform takes this picture, float32 [3, h, w] in 0..1, for what it has resized."""
    transform.resize = lambda _, target=None: (transform.normalize(prepared), target)
    try:
        yield
    finally:
        del transform.resize


def _quick_to_score(record: ImageRecord) -> ImageRecord:
    """With polygons filled once, and not in every draw."""
    if record.masks is None:
        return record
    return replace(record, masks=[masks.from_coco(mask, record.image_hw) for mask in record.masks])


def _figures(
    records: Sequence[ImageRecord], found: Sequence[Detections], names: ClassNames, chosen: Sequence[int]
) -> dict[str, float]:
    """Of the pictures ``chosen``; NaN where they show nothing to find."""
    metrics = coco.score([records[i] for i in chosen], [found[i] for i in chosen], names)
    kinds = [kind for kind in ("bbox", "segm") if kind in metrics]
    values = {f"{kind} {figure}": metrics[kind][figure] for kind in kinds for figure in _FIGURES}
    return {key: math.nan if value is None else value for key, value in values.items()}


def _quantiles(draws: Sequence[Figures], q: float) -> dict[str, float]:
    return {key: float(np.nanquantile([draw[key] for draw in draws], q)) for key in draws[0]}
