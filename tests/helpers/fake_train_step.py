"""A TrainStep whose model has a single weight, so that the result of each step is known."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from detect.training.optimizer import build_ema
from detect.training.step import Batch, TrainStep
from helpers.tiny_models import target


class FakeDetector(nn.Module):
    """Detector with ``loss_a`` = weight times the sum of the first pixel of each image, and ``loss_b`` = 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, targets):
        total = sum(image[0, 0, 0] for image in images)
        return {"loss_a": self.weight.sum() * total, "loss_b": torch.zeros(1).sum() + 2.0}


def batch(*values: float) -> Batch:
    """Return a batch with one constant image per value, without objects."""
    images = [torch.full((3, 8, 8), value) for value in values]
    return images, [target((8, 8), []) | {"image_id": torch.tensor(i)} for i in range(len(values))]


def fake_train_step(
    lr: float = 0.0, model: nn.Module | None = None, momentum: float = 0.0, decay: float = 0.0, **options: Any
) -> TrainStep:
    """Return a TrainStep with SGD at a constant learning rate, and an EMA if ``decay`` is given."""
    model = model or FakeDetector()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    return TrainStep(model, optimizer, schedule, build_ema(model, decay) if decay else None, **options)
