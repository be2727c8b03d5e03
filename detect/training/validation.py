"""What a run's model is worth after an epoch: its losses and metrics on val."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from detect.data.augmentation import Augmentation
from detect.data.augmentation.pipeline import TrainTransform
from detect.data.dataset import DetectionDataset
from detect.distributed import compute_on_first
from detect.evaluation import coco_metrics, predict
from detect.evaluation.predict import SCORE_FLOOR
from detect.inference.predictor import Predictor, evaluation_mode
from detect.structures.detections import Detections
from detect.training import loop
from detect.training.run import TrainingRun
from detect.training.setup import Data


@dataclass(frozen=True)
class Validated:
    """losses: the mean of every one, None where val lacks the masks that the model learns.  metrics: as of
    ``coco.score``.  found: of every image, with the labels of val."""

    losses: dict[str, float] | None
    metrics: dict[str, dict[str, Any]]
    found: list[Detections]


class Validation:
    """Of the model of ``run`` on val of ``data``, at ``imgsz`` and without augmentation."""

    def __init__(self, run: TrainingRun, data: Data, imgsz: int, seed: int) -> None:
        self.run, self.data, self.seed = run, data, seed
        masks = run.architecture.has_masks
        same_labels = data.val_records.relabel(data.names, data.val_names.names)
        transform = TrainTransform(imgsz, Augmentation())
        self._dataset = DetectionDataset(same_labels, transform, with_masks=masks, seed=seed)
        self._has_losses = data.val_records.has_masks or not masks
        device = run.learner.device
        self._predictor = Predictor(run.result, data.names, threshold=SCORE_FLOOR, device=device)

    def __call__(self, title: str) -> Validated:
        """title: of the progress bars."""
        records, names = self.data.val_records, self.data.val_names
        losses = self._losses(f"{title} val loss") if self._has_losses else None
        with evaluation_mode(self._predictor.model):
            found = predict.found_in(self._predictor, records, names, title=f"{title} val")
        return Validated(losses, compute_on_first(partial(coco_metrics.score, records, found, names)), found)

    def _losses(self, title: str) -> dict[str, float]:
        learner = self.run.learner
        return loop.validation_losses(
            self.run.result,
            self._dataset,
            device=learner.device,
            dtype=learner.dtype,
            seed=self.seed,
            title=title,
        )
