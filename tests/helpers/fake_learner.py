"""A learner whose model has one number, so that each of its steps can be told in advance."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from detect.training.optimizer import build_average
from detect.training.step import Batch, Learner
from helpers.tiny_models import target


class FakeDetector(nn.Module):
    """Its loss is its weight times the first pixel of each image; the gradient is the sum of those pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, targets):
        total = sum(image[0, 0, 0] for image in images)
        return {"loss_a": self.weight.sum() * total, "loss_b": torch.zeros(1).sum() + 2.0}


def batch(*values: float) -> Batch:
    """An image of each of ``values``, without objects."""
    images = [torch.full((3, 8, 8), value) for value in values]
    return images, [target((8, 8), []) | {"image_id": torch.tensor(i)} for i in range(len(values))]


def fake_learner(lr: float = 0.0, model: nn.Module | None = None, momentum: float = 0.0, **options: Any) -> Learner:
    """One with SGD at a constant rate; ``decay`` of its average, if there is to be one."""
    model = model or FakeDetector()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    if decay := options.pop("decay", 0.0):
        options["average"] = build_average(model, decay)
    return Learner(model, optimizer, schedule, **options)
