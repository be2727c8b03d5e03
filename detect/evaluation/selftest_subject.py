"""Input and result of the tests of the self-test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from detect.data.spec import DatasetSpec
from detect.data.table import Table
from detect.evaluation.coco_metrics import score
from detect.evaluation.predict import EVALUATION_THRESHOLD, BatchDetector, detect_for_dataset, only_readable
from detect.inference.predictor import Predictor
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections

FEW = 8
"""Number of images for tests that compare detections one by one, which need no more."""


class Status(Enum):
    """Result of a test; the values are what the screen shows."""

    OK = "ok"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True)
class Outcome:
    """Result of a test in words: the figure; what a failure means and what to check; or why it was skipped."""

    status: Status
    text: str


@dataclass(frozen=True)
class Subject:
    """A model, or the detections of one, on a split of a dataset.

    spec, split, class_names: the dataset.  records: the images of the split, whether or not they can be read.
    limit: number of detections per image and class that are scored.
    predictor: the model; None for a file of detections.
    sample: images that ``detections`` belong to: for a model N evenly spaced ones with objects, for a file all.
    detections: one Detections per image of ``sample``, with labels of ``class_names``.
    has_color: whether most images of ``sample`` have color.
    """

    spec: DatasetSpec
    split: str
    class_names: ClassNames
    records: Table
    limit: int
    predictor: Predictor | None
    sample: Table
    detections: list[Detections]
    has_color: bool = True

    def metrics(self, detections: list[Detections]) -> dict[str, float]:
        """Return AP and AP50, 0..1, of boxes and masks in the sample: ``{"bbox AP": ..}``."""
        scores = score(self.sample, detections, self.class_names, limit=self.limit)
        return {
            f"{kind} {name}": scores[kind][name] or 0.0
            for kind in ("bbox", "segm")
            if kind in scores
            for name in ("AP", "AP50")
        }

    def few(self) -> Subject:
        """Return the subject with at most FEW evenly spaced images of the sample."""
        return self.take(evenly_spaced(np.arange(len(self.sample)), FEW))

    def take(self, rows: np.ndarray) -> Subject:
        """Return the subject with the images of the sample at ``rows``, int [n], in this order."""
        found = [self.detections[row] for row in rows.tolist()]
        return replace(self, sample=self.sample.take_images(rows), detections=found)

    def detect(
        self,
        detector: BatchDetector,
        title: str,
        change_image: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[Subject, list[Detections]]:
        """Run a model on the sample, as an evaluation does.

        title: of the progress bar.  change_image: see ``detect_for_dataset``.
        Returns the subject with the images that could be read, and the new detections in each of them.
        """
        found = detect_for_dataset(
            detector,
            self.sample,
            self.class_names,
            threshold=EVALUATION_THRESHOLD,
            title=title,
            change_image=change_image,
        )
        readable = self.take(np.array([i for i, one in enumerate(found) if one is not None], np.int64))
        return readable, only_readable(self.sample, found)[1]


class OneByOne:
    """A ``BatchDetector`` that passes each image to a function: ``detect(image, threshold)``."""

    def __init__(self, class_names: ClassNames, detect: Callable[[np.ndarray, float | None], Detections]) -> None:
        self.class_names = class_names
        self._detect = detect

    def predict_batch(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[int] | None = None,
        threshold: float | None = None,
    ) -> list[Detections]:
        """Return the detections of every class, which ``labels`` does not restrict."""
        return [self._detect(image, threshold) for image in images]


def evenly_spaced(rows: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of ``rows``, int [N], evenly spaced from the first to the last."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def passed(text: str) -> Outcome:
    return Outcome(Status.OK, text)


def failed(text: str) -> Outcome:
    return Outcome(Status.FAIL, text)


def skipped(text: str) -> Outcome:
    return Outcome(Status.SKIP, text)
