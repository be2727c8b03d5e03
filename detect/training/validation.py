"""Validation after an epoch: losses and metrics on the val split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.data.image_problems import ImageProblems
from detect.distributed import compute_on_first
from detect.evaluation import coco_metrics, predict
from detect.evaluation.detection_limit import explain_limit, limit_facts, scored_detections
from detect.evaluation.predict import EVALUATION_THRESHOLD
from detect.inference.predictor import Predictor
from detect.inference.runtimes.torch_runtime import TorchRuntime
from detect.progress import report
from detect.structures.detections import Detections
from detect.text import counted
from detect.training.config import TrainConfig
from detect.training.data import TrainingData
from detect.training.loop import validation_losses
from detect.training.run import TrainingRun


@dataclass(frozen=True)
class ValidationResult:
    """Result on the val split.

    losses: mean of each loss; None if the model learns masks and the val split has none.
    metrics: see ``coco_metrics.score``.
    detections: one entry per image, with the labels of the val split; None for an image that could not be read.
    problems: images of the val split that could not be read completely.
    """

    losses: dict[str, float] | None
    metrics: dict[str, dict[str, Any]]
    detections: list[Detections | None]
    problems: ImageProblems


class Validator:
    """Evaluates the model of a run on the val split of ``data``, without augmentation.

    Without val images, the metrics are empty.

    limit: number of detections per image and class that are scored.
    """

    def __init__(self, run: TrainingRun, data: TrainingData, config: TrainConfig) -> None:
        assert config.imgsz
        with_masks = run.architecture.has_masks
        self._run, self._data, self._seed = run, data, config.seed
        self._dataset = DetectionDataset(
            data.val.relabel(data.class_names, data.val_class_names.names),
            TrainTransform(config.imgsz, Augmentation("none")),
            with_masks=with_masks,
            seed=config.seed,
        )
        # A fitted number would make the metrics of a run incomparable with COCO's without anybody having asked for it.
        given = None if "max_detections" in run.metadata.reasons else config.max_detections
        self.limit = scored_detections(given)
        if line := describe_limit(data, self.limit):
            report(line)
        self._has_losses = data.val.has_masks or not with_masks
        self._predictor = Predictor(
            TorchRuntime(run.evaluated_model, device=run.train_step.device),
            data.class_names,
            threshold=EVALUATION_THRESHOLD,
        )

    def __call__(self, title: str) -> ValidationResult:
        """Evaluate the current weights; ``title`` begins the titles of the progress bars."""
        model, records, class_names = self._run.evaluated_model, self._data.val, self._data.val_class_names
        losses = None
        if not len(records):
            return ValidationResult(None, {}, [], ImageProblems())
        if self._has_losses:
            dtype = self._run.train_step.dtype
            losses = validation_losses(model, self._dataset, dtype=dtype, seed=self._seed, title=f"{title} val loss")
        self._dataset.problems.take()  # those of the losses are found again
        model.eval()
        problems = ImageProblems()
        detections = predict.detect_for_dataset(
            self._predictor, records, class_names, title=f"{title} val", problems=problems
        )
        readable, found = predict.only_readable(records, detections)
        metrics = compute_on_first(partial(coco_metrics.score, readable, found, class_names, limit=self.limit))
        return ValidationResult(losses, metrics, detections, problems)


def describe_limit(data: TrainingData, limit: int) -> str:
    """Return one line if the limit of ``limit`` detections per image and class is not COCO's or excludes objects of
    the val split, or else of the train split; "" otherwise."""
    if lines := explain_limit(limit_facts(data.val, len(data.val_class_names), limit)):
        return f"val: {'; '.join(lines)}"
    if images := limit_facts(data.train, len(data.class_names), limit)["images_above"]:
        return (
            f"train: {counted(images, 'image has', 'images have')} more objects of one class than the {limit}"
            " detections that are scored; a higher `max_detections` scores more"
        )
    return ""
