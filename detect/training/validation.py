"""Validation after an epoch: losses and metrics on the val split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.distributed import compute_on_first
from detect.evaluation import coco_metrics, predict
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.inference.predictor import Predictor
from detect.models.builder import Detector
from detect.structures.detections import Detections
from detect.training.data import TrainingData
from detect.training.loop import validation_losses


@dataclass(frozen=True)
class ValidationResult:
    """Result on the val split.

    losses: mean of each loss; None if the model learns masks and the val split has none.
    metrics: see ``coco_metrics.score``.
    detections: one entry per image, with the labels of the val split.
    """

    losses: dict[str, float] | None
    metrics: dict[str, dict[str, Any]]
    detections: list[Detections]


class Validator:
    """Evaluates a model on the val split of ``data``, without augmentation.

    model: the model to evaluate; its weights may change between calls.
    with_masks: whether the model learns masks.
    imgsz: short side in pixels.  seed: of the proposals that the losses sample.
    dtype: type of the layers when losses are computed, as in training; None for float32.
    """

    def __init__(
        self,
        model: Detector,
        data: TrainingData,
        *,
        with_masks: bool,
        imgsz: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        self.model, self.data, self.seed, self.device, self.dtype = model, data, seed, device, dtype
        records = data.val.relabel(data.class_names, data.val_class_names.names)
        transform = TrainTransform(imgsz, Augmentation("none"))
        self._dataset = DetectionDataset(records, transform, with_masks=with_masks, seed=seed)
        self._has_losses = data.val.has_masks or not with_masks
        self._predictor = Predictor(model, data.class_names, threshold=EVALUATION_THRESHOLD, device=device)

    def __call__(self, title: str) -> ValidationResult:
        """Evaluate the current weights; ``title`` begins the titles of the progress bars."""
        records, class_names = self.data.val, self.data.val_class_names
        losses = None
        if self._has_losses:
            losses = validation_losses(
                self.model,
                self._dataset,
                device=self.device,
                dtype=self.dtype,
                seed=self.seed,
                title=f"{title} val loss",
            )
        self.model.eval()
        detections = predict.detect_for_dataset(self._predictor, records, class_names, title=f"{title} val")
        metrics = compute_on_first(partial(coco_metrics.score, records, detections, class_names))
        return ValidationResult(losses, metrics, detections)
