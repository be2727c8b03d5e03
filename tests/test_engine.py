"""The two loops: means of losses, clipping, a loss that is not finite, and classes tied by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import CLASSES, as_checkpoint, picture, random_model, target
from torch import nn

from detect.engine import evaluate, train_one_epoch
from detect.errors import TrainingError
from detect.media.images import write_image
from detect.optim import build_schedule
from detect.predictor import from_checkpoint
from detect.types import ClassNames, Detections, ImageRecord


class FakeDetector(nn.Module):
    """Its loss is its weight times the first pixel of each picture; the gradient is the sum of those pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images, targets):
        total = sum(image[0, 0, 0] for image in images)
        return {"loss_a": self.weight.sum() * total, "loss_b": torch.zeros(1).sum() + 2.0}


def batch(*values: float):
    images = [torch.full((3, 8, 8), value) for value in values]
    return images, [target((8, 8), []) | {"image_id": torch.tensor(i)} for i in range(len(values))]


def train(model, batches, lr=0.0, **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    schedule = build_schedule(optimizer, "cosine", 100, 0)
    settings = {"device": torch.device("cpu"), "clip": 0.0} | options
    return train_one_epoch(model, batches, optimizer, schedule, **settings), schedule


def test_losses_are_means_over_the_batches():
    losses, schedule = train(FakeDetector(), [batch(1.0), batch(3.0, 2.0)])
    assert losses == pytest.approx({"loss_a": 3.0, "loss_b": 2.0, "loss": 5.0})
    assert schedule.last_epoch == 2


def test_an_epoch_leaves_the_model_in_training_mode():
    model = FakeDetector().eval()
    train(model, [batch(1.0)])
    assert model.training


@pytest.mark.parametrize(("clip", "step"), [(0.0, 5.0), (2.0, 2.0), (100.0, 5.0)])
def test_clip_bounds_the_norm_of_the_gradients(clip, step):
    model = FakeDetector()
    train(model, [batch(5.0)], lr=1.0, clip=clip)
    assert float(model.weight.detach()) == pytest.approx(1.0 - step, abs=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_pictures(value):
    model = FakeDetector()
    with pytest.raises(TrainingError, match=r"loss_a (nan|inf), loss_b 2\) on the batch of first\.jpg, second\.jpg;"):
        train(model, [batch(1.0, value)], lr=1.0, names={0: "first.jpg", 1: "second.jpg"})
    assert float(model.weight.detach()) == 1.0


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    model = FakeDetector()
    model.weight.register_hook(lambda gradient: gradient * float("inf"))
    for clip in (0.0, 1.0):
        with pytest.raises(TrainingError, match="the gradient is not finite"):
            train(model, [batch(1.0)], clip=clip)
    assert float(model.weight.detach()) == 1.0


def test_pictures_without_a_name_are_told_by_their_id():
    with pytest.raises(TrainingError, match="on the batch of image 0"):
        train(FakeDetector(), [batch(float("nan"))])


# Evaluation


class Oracle:
    """Finds what it is told, in its own order of classes."""

    def __init__(self, class_names: ClassNames, found: list[Detections]) -> None:
        self.class_names = class_names
        self.found = iter(found)

    def __call__(self, images):
        return [next(self.found) for _ in images]


@pytest.fixture
def record(tmp_path) -> ImageRecord:
    """One picture with a kite and a bird of CLASSES."""
    path: Path = tmp_path / "a.png"
    write_image(path, picture((60, 80), 1))
    boxes = np.array([[5, 5, 30, 30], [40, 10, 70, 50]], np.float32)
    areas = np.array([625.0, 1200.0])
    return ImageRecord(path, (60, 80), 1, boxes, np.array([1, 3]), areas, np.zeros(2, bool), np.array([1, 2]))


def found_in(record: ImageRecord, labels: list[int]) -> Detections:
    return Detections(record.image_hw, record.boxes, np.array([0.9, 0.8], np.float32), np.array(labels))


def test_names_tie_classes_and_not_positions(record):
    turned = ClassNames(("bird", "dragon", "kite"))
    metrics = evaluate(Oracle(turned, [found_in(record, [3, 1])]), [record], CLASSES)
    assert metrics["bbox"]["AP"] == pytest.approx(1.0)
    same_positions = evaluate(Oracle(turned, [found_in(record, [1, 3])]), [record], CLASSES)
    assert same_positions["bbox"]["AP"] == 0.0


def test_what_the_data_does_not_know_is_left_out_and_what_the_model_does_not_know_scores_0(record):
    stranger = ClassNames(("kite", "dragon"))
    metrics = evaluate(Oracle(stranger, [found_in(record, [1, 2])]), [record], CLASSES)
    assert metrics["classes"]["kite"]["bbox"]["AP"] == pytest.approx(1.0)
    assert metrics["classes"]["bird"]["bbox"]["AP"] == 0.0
    assert metrics["classes"]["balloon"]["bbox"]["AP"] is None  # none there to find
    assert metrics["bbox"]["AP"] == pytest.approx(0.5)


def test_a_real_model_is_scored_on_original_pixels(record):
    predictor = from_checkpoint(as_checkpoint(random_model()), threshold=0)
    metrics = evaluate(predictor, [replace(record, masks=None)], CLASSES)
    assert set(metrics) == {"bbox", "classes"} and 0 <= metrics["bbox"]["AP"] <= 1
