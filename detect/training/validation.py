"""Validation after an epoch: losses and metrics on the val split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from detect import distributed
from detect.data.dataset import collate
from detect.data.image_problems import ImageProblems
from detect.data.validation_loader import ValidationItem, ValidationLoader
from detect.evaluation import coco_metrics, predict
from detect.evaluation.detection_limit import explain_limit, limit_facts, scored_detections
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.models.builder import Detector
from detect.progress import report
from detect.runtime import seed_all
from detect.structures.detections import Detections
from detect.text import counted
from detect.training.amp import autocast_layers
from detect.training.config import TrainConfig
from detect.training.data import TrainingData
from detect.training.loop import validation_losses
from detect.training.run import TrainingRun


@dataclass(frozen=True)
class ValidationResult:
    """Result on the val split.

    losses: mean of each loss over the images; None if the model learns masks and the val split has none.
    metrics: see ``coco_metrics.score``.
    detections: one entry per image, with the labels of the val split; None for an image that could not be read.
    problems: images of the val split that could not be read completely.
    """

    losses: dict[str, float] | None
    metrics: dict[str, dict[str, Any]]
    detections: list[Detections | None]
    problems: ImageProblems


class Validator:
    """Evaluates the model of a run on the val split of ``data``, without augmentation, in the precision of training.

    Each image is read once, for its losses and its detections. Without val images, the metrics are empty.

    limit: number of detections per image and class that are scored.
    """

    def __init__(self, run: TrainingRun, data: TrainingData, config: TrainConfig, workers: int = 0) -> None:
        """workers: number of processes that read images, which are kept for all epochs."""
        assert config.imgsz
        with_masks, here = run.architecture.has_masks, distributed.world()
        self._run, self._data, self._seed = run, data, config.seed
        # A fitted number would make the metrics of a run incomparable with COCO's without anybody having asked for it.
        given = None if "max_detections" in run.metadata.reasons else config.max_detections
        self.limit = scored_detections(given)
        if line := describe_limit(data, self.limit):
            report(line)
        self._loader = ValidationLoader(
            data.val.relabel(data.class_names, data.val_class_names.names),
            config.imgsz,
            config.batch_size,
            workers,
            with_examples=data.val.has_masks or not with_masks,
            with_masks=with_masks,
            rank=here.rank,
            world_size=here.size,
        )
        runtime = TorchRuntime(run.evaluated_model, device=run.train_step.device)
        predictor = Predictor(runtime, data.class_names, threshold=EVALUATION_THRESHOLD)
        self._detector = _DetectorInTraining(predictor, run.evaluated_model, run.train_step.dtype)

    def __call__(self, title: str) -> ValidationResult:
        """Evaluate the current weights; ``title`` begins the title of the progress bar."""
        records, class_names = self._data.val, self._data.val_class_names
        if not len(records):
            return ValidationResult(None, {}, [], ImageProblems())
        problems, batches = ImageProblems(), _ValidationBatches(self._loader, self._losses)
        detections = predict.detect_for_dataset(
            self._detector, records, class_names, title=f"{title} val", problems=problems, source=batches
        )
        readable, found = predict.only_readable(records, detections)
        score = partial(coco_metrics.score, readable, found, class_names, limit=self.limit)
        return ValidationResult(batches.mean_losses(), distributed.compute_on_first(score), detections, problems)

    def _losses(self, items: Sequence[ValidationItem]) -> dict[str, float]:
        """Return the losses of one batch. The proposals that they sample are seeded, so that the values of two epochs
        differ because of the weights only."""
        seed_all(self._seed, items[0].index)
        images, targets = collate([item.example for item in items if item.example])
        return validation_losses(self._run.evaluated_model, (images, targets), dtype=self._run.train_step.dtype)


class _ValidationBatches:
    """The images of this process for ``detect_for_dataset``; the losses of each batch are computed on the way."""

    def __init__(
        self, loader: ValidationLoader, compute_losses: Callable[[Sequence[ValidationItem]], dict[str, float]]
    ) -> None:
        self._loader, self._compute_losses = loader, compute_losses
        self._losses: dict[int, tuple[int, dict[str, float]]] = {}  # first row -> number of images, their losses
        self.problems = ImageProblems()

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[tuple[int, np.ndarray | None]]]:
        for items in self._loader:
            for item in items:
                self.problems.update(item.problems)
            if examples := [item for item in items if item.example]:
                self._losses[examples[0].index] = len(examples), self._compute_losses(examples)
            yield [(item.index, item.image) for item in items]

    def mean_losses(self) -> dict[str, float] | None:
        """Return the mean over the images of all processes of each loss and of their sum (``loss``); None without."""
        parts = {row: part for own in distributed.all_gather(self._losses) for row, part in own.items()}
        if not parts:
            return None
        counts, losses = zip(*(parts[row] for row in sorted(parts)), strict=True)
        means = {name: float(np.average([one[name] for one in losses], weights=counts)) for name in losses[0]}
        return means | {"loss": sum(means.values())}


class _DetectorInTraining:
    """The predictor of a model that is being trained, in the precision of the training."""

    def __init__(self, predictor: Predictor, model: Detector, dtype: torch.dtype | None) -> None:
        self._predictor, self._model, self._dtype = predictor, model, dtype
        self.class_names = predictor.class_names

    def predict_batch(
        self, images: Sequence[np.ndarray], labels: Sequence[int] | None = None, threshold: float | None = None
    ) -> list[Detections]:
        self._model.eval()
        with autocast_layers(self._model, self._dtype):
            return self._predictor.predict_batch(images, labels, threshold)


def describe_limit(data: TrainingData, limit: int) -> str:
    """Return a line about the ``limit`` of detections per image and class, or "".

    It says that the limit is not COCO's, or that images of val, or else of train, have more objects of one class.
    """
    if lines := explain_limit(limit_facts(data.val, len(data.val_class_names), limit)):
        return f"val: {'; '.join(lines)}"
    if images := limit_facts(data.train, len(data.class_names), limit)["images_above"]:
        return (
            f"train: {counted(images, 'image has', 'images have')} more objects of one class than the {limit}"
            " detections that are scored; a higher `max_detections` scores more"
        )
    return ""
