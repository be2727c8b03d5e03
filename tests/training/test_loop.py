"""The loops: means of losses, steps of several batches, losses on a split, and classes tied by name."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fake_learner import batch, fake_learner
from helpers.tiny_models import CLASSES, as_checkpoint, make_image, random_model, target
from torch import nn

from detect.evaluation import coco_metrics
from detect.inference.load import predictor_from_checkpoint
from detect.media.images import write_image
from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.runtime import seed_all
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.structures.image_record import ImageRecord
from detect.training import loop
from detect.training.loop import Progress, train_one_epoch, validation_losses


def test_losses_are_means_over_the_steps():
    learner = fake_learner()
    losses = train_one_epoch(learner, [batch(1.0), batch(3.0, 2.0)])
    assert losses == pytest.approx({"loss_a": 3.0, "loss_b": 2.0, "loss": 5.0})
    assert learner.schedule.last_epoch == 2


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (3, 2), (9, 1)])
def test_batches_are_gathered_into_steps_and_the_last_one_may_be_smaller(accumulate, steps):
    seen = []
    learner = fake_learner()
    train_one_epoch(
        learner, [batch(1.0)] * 5, accumulate=accumulate, on_step=lambda _, batches, __: seen.append(len(batches))
    )
    assert len(seen) == steps == learner.schedule.last_epoch and sum(seen) == 5 and set(seen[:-1]) <= {accumulate}


def test_a_step_that_fails_is_counted_and_not_in_the_means():
    progress = Progress()
    batches = [batch(1.0), batch(float("nan")), batch(3.0)]
    losses = train_one_epoch(fake_learner(), batches, progress=progress)
    assert losses["loss_a"] == pytest.approx(2.0)
    assert (progress.batches, progress.steps, progress.skipped) == (3, 2, 1)


def test_an_epoch_that_was_begun_goes_on_with_its_sums():
    progress = Progress(batches=2, steps=2, sums={"loss_a": 2.0, "loss_b": 4.0, "loss": 6.0})
    losses = train_one_epoch(fake_learner(), [batch(4.0)], progress=progress)
    assert losses == pytest.approx({"loss_a": 2.0, "loss_b": 2.0, "loss": 4.0})


@pytest.mark.parametrize("batches_done", [0, 3])
def test_what_a_model_draws_depends_on_seed_epoch_and_batch_alone(batches_done):
    drawn = []
    learner = fake_learner()
    learner.seed = 5
    learner.model.register_forward_hook(lambda *_: drawn.append(torch.rand(1).item()))
    torch.rand(batches_done)
    train_one_epoch(learner, [batch(1.0)] * 2, epoch=2, progress=Progress(batches=batches_done))
    expected = []
    for i in (batches_done, batches_done + 1):
        seed_all(5, 2, i)
        expected.append(torch.rand(1).item())
    assert drawn == expected and drawn[0] != drawn[1]


# Losses on a split


def test_losses_of_a_split_are_means_over_its_images_and_leave_the_model_as_it_was():
    model = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(3), drop=nn.Dropout()))
    model.forward = lambda images, _: {  # type: ignore[method-assign]
        "loss_a": model.drop(model.norm(images[0][None])).sum(), "loss_b": torch.rand(1).sum()
    }  # fmt: skip
    before = {k: t.clone() for k, t in model.state_dict().items()}
    pictures = [(torch.full((3, 2, 2), float(i)), {}) for i in range(3)]
    first, again = (validation_losses(model, pictures, device=torch.device("cpu"), seed=3) for _ in range(2))
    assert first == again and first["loss_a"] == pytest.approx(12.0, rel=1e-4)
    assert first["loss"] == pytest.approx(first["loss_a"] + first["loss_b"])
    assert all(torch.equal(before[k], t) for k, t in model.state_dict().items())
    assert model.training and model.norm.training


def test_a_real_model_has_losses_in_evaluation_and_in_training_mode():
    model = random_model().eval()
    item = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255, target((64, 96), [[5, 5, 40, 45]])
    losses = validation_losses(model, [item], device=torch.device("cpu"))
    assert set(losses) == {
        *("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg", "loss_mask", "loss")
    }
    assert all(np.isfinite(list(losses.values()))) and not model.training


def test_losses_of_a_split_change_no_norm_of_any_backbone():
    for name in ("mobilenet_v2", "timm:efficientnet_lite0"):
        model = build(backbone_architecture(name, "fasterrcnn", 64), 4)
        before = {k: t.clone() for k, t in model.state_dict().items()}
        image = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255
        validation_losses(model, [(image, target((64, 96), [[5, 5, 40, 45]]))], device=torch.device("cpu"))
        assert all(torch.equal(before[k], t) for k, t in model.state_dict().items()), name


# Evaluation


class Oracle:
    """Finds what it is told, in its own order of classes."""

    def __init__(self, class_names: ClassNames, found: list[Detections]) -> None:
        self.class_names = class_names
        self.found = iter(found)

    def predict_batch(self, images, labels=None, threshold=None):
        return [next(self.found) for _ in images]


@pytest.fixture
def record(tmp_path) -> ImageRecord:
    """One image with a kite and a bird of CLASSES."""
    path: Path = tmp_path / "a.png"
    write_image(path, make_image((60, 80), 1))
    boxes = np.array([[5, 5, 30, 30], [40, 10, 70, 50]], np.float32)
    areas = np.array([625.0, 1200.0])
    return ImageRecord(path, (60, 80), 1, boxes, np.array([1, 3]), areas, np.zeros(2, bool), np.array([1, 2]))


def found_in(record: ImageRecord, labels: list[int]) -> Detections:
    return Detections(record.image_hw, record.boxes, np.array([0.9, 0.8], np.float32), np.array(labels))


def evaluate(predictor, records: list[ImageRecord], class_names: ClassNames) -> dict:
    return coco_metrics.score(records, loop.found_in(predictor, records, class_names), class_names)


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
    predictor = predictor_from_checkpoint(as_checkpoint(random_model()), threshold=0)
    metrics = evaluate(predictor, [replace(record, masks=None)], CLASSES)
    assert set(metrics) == {"bbox", "classes", "evaluator"} and 0 <= metrics["bbox"]["AP"] <= 1
