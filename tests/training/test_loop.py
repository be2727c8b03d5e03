"""Epochs of training: means of losses, steps of several batches, resumed epochs; losses on a split."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from helpers.fake_train_step import batch, fake_train_step
from helpers.tiny_models import make_image, random_model, target
from torch import nn

from detect.models.architecture import backbone_architecture
from detect.models.builder import build
from detect.runtime import seed_all
from detect.training.loop import EpochProgress, train_one_epoch, validation_losses


def test_losses_of_an_epoch_are_means_over_its_steps():
    train_step = fake_train_step()
    losses = train_one_epoch(train_step, [batch(1.0), batch(3.0, 2.0)])
    assert losses == pytest.approx({"loss_a": 3.0, "loss_b": 2.0, "loss": 5.0})
    assert train_step.schedule.last_epoch == 2


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 5), (2, 3), (3, 2), (9, 1)])
def test_batches_are_accumulated_and_the_last_step_may_have_fewer(accumulate, steps):
    seen = []
    train_step = fake_train_step()
    train_one_epoch(
        train_step, [batch(1.0)] * 5, accumulate=accumulate, on_step=lambda _, batches, __: seen.append(len(batches))
    )
    assert len(seen) == steps == train_step.schedule.last_epoch and sum(seen) == 5 and set(seen[:-1]) <= {accumulate}


def test_a_failed_step_is_counted_but_not_averaged():
    progress = EpochProgress()
    batches = [batch(1.0), batch(float("nan")), batch(3.0)]
    losses = train_one_epoch(fake_train_step(), batches, progress=progress)
    assert losses["loss_a"] == pytest.approx(2.0)
    assert (progress.batches, progress.steps, progress.skipped) == (3, 2, 1)


def test_a_resumed_epoch_continues_its_sums():
    progress = EpochProgress(batches=2, steps=2, sums={"loss_a": 2.0, "loss_b": 4.0, "loss": 6.0})
    losses = train_one_epoch(fake_train_step(), [batch(4.0)], progress=progress)
    assert losses == pytest.approx({"loss_a": 2.0, "loss_b": 2.0, "loss": 4.0})


@pytest.mark.parametrize("batches_done", [0, 3])
def test_random_draws_depend_only_on_seed_epoch_and_batch(batches_done):
    drawn = []
    train_step = fake_train_step()
    train_step.seed = 5
    train_step.model.register_forward_hook(lambda *_: drawn.append(torch.rand(1).item()))
    torch.rand(batches_done)
    train_one_epoch(train_step, [batch(1.0)] * 2, epoch=2, progress=EpochProgress(batches=batches_done))
    expected = []
    for i in (batches_done, batches_done + 1):
        seed_all(5, 2, i)
        expected.append(torch.rand(1).item())
    assert drawn == expected and drawn[0] != drawn[1]


# Losses of a validation batch


def test_validation_losses_are_those_of_evaluation_mode_and_change_nothing():
    model = nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(3), drop=nn.Dropout()))
    model.forward = lambda images, _: {  # type: ignore[method-assign]
        "loss_a": model.drop(model.norm(images[0][None])).sum(), "loss_b": torch.tensor(2.0)
    }  # fmt: skip
    before = {k: t.clone() for k, t in model.state_dict().items()}
    losses = validation_losses(model, ([torch.full((3, 2, 2), 3.0)], [{}]))
    assert losses == {"loss_a": pytest.approx(36.0, rel=1e-4), "loss_b": 2.0}
    assert all(torch.equal(before[k], t) for k, t in model.state_dict().items())
    assert model.training and model.norm.training


def test_validation_losses_of_a_real_model():
    model = random_model().eval()
    image = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255
    losses = validation_losses(model, ([image], [target((64, 96), [[5, 5, 40, 45]])]))
    assert set(losses) == {*("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg", "loss_mask")}
    assert all(np.isfinite(list(losses.values()))) and not model.training


def test_validation_losses_change_no_batch_norm():
    for name in ("mobilenet_v2", "timm:efficientnet_lite0"):
        model = build(backbone_architecture(name, "fasterrcnn", 64), 4)
        before = {k: t.clone() for k, t in model.state_dict().items()}
        image = torch.from_numpy(make_image((64, 96), 1)).permute(2, 0, 1) / 255
        validation_losses(model, ([image], [target((64, 96), [[5, 5, 40, 45]])]))
        assert all(torch.equal(before[k], t) for k, t in model.state_dict().items()), name
