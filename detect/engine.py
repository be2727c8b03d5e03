"""The two loops: one epoch of training, one pass of evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from detect import progress
from detect.data.dataset import Target, read_record
from detect.errors import TrainingError, UsageError, first_few, warn
from detect.metrics import coco
from detect.predictor import Predictor
from detect.types import ClassNames, Detections, ImageRecord

# torchvision and Detectron2 score what is above 0.05; so does this, to compare with them.
SCORE_FLOOR = 0.05


def train_one_epoch(
    model: nn.Module,
    batches: Iterable[tuple[list[Tensor], list[Target]]],
    optimizer: Optimizer,
    schedule: LRScheduler,
    *,
    device: torch.device,
    clip: float,
    average: AveragedModel | None = None,
    title: str = "",
    names: dict[int, str] | None = None,
) -> dict[str, float]:
    """Train on every batch once; returns the mean of every loss and of their sum (``loss``).

    clip: the largest norm of all gradients together, 0 for no limit.  average: follows ``model`` at every step.
    names: image id -> file, for messages.
    Raises TrainingError, naming the images of the batch, when a loss is not finite.
    """
    model.train()
    sums: dict[str, float] = {}
    steps = 0
    bar = progress.bar(batches, desc=title)
    for images, targets in bar:
        losses = model([i.to(device) for i in images], [{k: v.to(device) for k, v in t.items()} for t in targets])
        loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise TrainingError(_not_finite("loss", losses, targets, names or {}))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)
        if not torch.isfinite(norm):  # one step with it would make every weight NaN
            raise TrainingError(_not_finite("gradient", losses, targets, names or {}))
        optimizer.step()
        schedule.step()
        if average:
            average.update_parameters(model)

        steps += 1
        for name, value in {**losses, "loss": loss}.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        shown = {name.removeprefix("loss_"): f"{total / steps:.3f}" for name, total in sums.items()}
        bar.set_postfix(shown, lr=f"{schedule.get_last_lr()[0]:.1e}", refresh=False)
    return {name: total / max(1, steps) for name, total in sums.items()}


def detect_records(predictor: Predictor, records: Sequence[ImageRecord], *, title: str = "") -> list[Detections]:
    """Detections for every record, read from its file one at a time."""
    return [predictor([read_record(record)])[0] for record in progress.bar(records, desc=title)]


def check_classes(model: ClassNames, data: ClassNames, what: str) -> None:
    """UsageError where a model and a data set (``what``) share no class name, a warning where the model lacks some."""
    strangers = [name for name in data.names if name not in model.names]
    if len(strangers) == len(data):
        raise UsageError(
            f"{what} and the model share no class: the data has {first_few(data.names)}, "
            f"the model knows {first_few(model.names)}"
        )
    if strangers:
        warn(f"{what}: the model does not know {first_few(strangers)}, which will score 0")


def evaluate(
    predictor: Predictor, records: Sequence[ImageRecord], class_names: ClassNames, *, title: str = "evaluate"
) -> dict[str, dict]:
    """COCO metrics of ``predictor`` on ``records``, whose labels are those of ``class_names``.

    Class names tie the two together, as in ``relabel``: a class that the model does not know scores 0.
    """
    found = detect_records(predictor, records, title=title)
    return coco.score(records, relabel(found, predictor.class_names, class_names), class_names)


def relabel(found: Sequence[Detections], model: ClassNames, data: ClassNames) -> list[Detections]:
    """Detections with the labels of ``data`` in place of those of ``model``, by the names of the classes and not by
    their positions; what is of a class that the data does not know is left out."""
    label_of = {i: data.label(name) for i, name in enumerate(model.names, 1) if name in data.names}
    return [_relabel(one, label_of) for one in found]


def _relabel(found: Detections, label_of: dict[int, int]) -> Detections:
    known = found.filter(labels=list(label_of))
    labels = np.array([label_of[label] for label in known.labels.tolist()], np.int64)
    return Detections(known.image_hw, known.boxes, known.scores, labels, known.masks, known.keypoints)


def _not_finite(what: str, losses: dict[str, Tensor], targets: Sequence[Target], names: dict[int, str]) -> str:
    values = ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in losses.items())
    ids = [int(target["image_id"]) for target in targets]
    images = ", ".join(names.get(i, f"image {i}") for i in ids)
    return f"the {what} is not finite ({values}) on the batch of {images}; look at their boxes, or lower --lr"
