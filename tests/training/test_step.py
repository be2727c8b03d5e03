"""One optimizer step: gradient, clipping, failed steps, mixed precision, resuming."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from helpers.fake_train_step import FakeDetector, batch, fake_train_step
from helpers.tiny_models import TINY_ARCHITECTURE, make_image, random_model, target
from torch import nn

from detect.errors import UsageError
from detect.models.builder import build
from detect.training.amp import autocast_layers, half_dtype
from detect.training.optimizer import build_ema, build_optimizer, build_schedule
from detect.training.step import TrainStep

NAN, INF = float("nan"), float("inf")


def weight(train_step: TrainStep) -> float:
    return float(next(train_step.model.parameters()).detach())


def test_a_step_of_several_batches_follows_the_gradient_of_their_mean_loss():
    train_step = fake_train_step(lr=1.0)
    step = train_step([batch(1.0), batch(5.0)], [(0,), (1,)])
    assert weight(train_step) == pytest.approx(1.0 - 3.0)
    assert step.losses == {"loss_a": 3.0, "loss_b": 2.0, "loss": 5.0} and step.gradient_norm == pytest.approx(3.0)
    assert [one["loss"] for one in step.batch_losses] == [3.0, 7.0] and step.taken and not step.failed


@pytest.mark.parametrize(("clip", "moved"), [(0.0, 5.0), (2.0, 2.0), (100.0, 5.0)])
def test_clip_bounds_the_norm_of_the_gradients(clip, moved):
    train_step = fake_train_step(lr=1.0, clip=clip)
    train_step([batch(5.0)], [(0,)])
    assert weight(train_step) == pytest.approx(1.0 - moved, abs=1e-4)


class Norms(FakeDetector):
    """Detector with a batch norm, whose statistics each batch changes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images, targets):
        return super().forward([self.norm(images[0][None])[0] + images[0]], targets)


@pytest.mark.parametrize("bad", [(NAN,), (1.0, INF), (INF, -INF)])
@pytest.mark.parametrize("place", [0, 1])
def test_a_loss_that_is_not_finite_changes_nothing(bad, place):
    train_step = fake_train_step(lr=1.0, model=Norms(), momentum=0.9, decay=0.5)
    train_step([batch(1.0)], [(0,)])
    before = snapshot(train_step)
    batches = [batch(2.0), batch(2.0)]
    batches[place] = batch(*bad[:1]) if len(bad) == 1 else batch(bad[1])
    step = train_step(batches, [(1,), (2,)])
    assert step.failed and not step.taken and snapshot(train_step) == before
    assert all(p.grad is None for p in train_step.model.parameters())


def snapshot(train_step: TrainStep) -> bytes:
    file = io.BytesIO()
    torch.save(train_step.state_dict(), file)
    return file.getvalue()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_changes_nothing(clip):
    train_step = fake_train_step(lr=1.0, clip=clip)
    train_step.model.weight.register_hook(lambda gradient: gradient * INF)
    step = train_step([batch(1.0)], [(0,)])
    assert step.failed and weight(train_step) == 1.0 and train_step.schedule.last_epoch == 0


@pytest.fixture
def steps():
    images = [torch.from_numpy(make_image((64, 96), seed)).permute(2, 0, 1) / 255 for seed in (1, 2)]
    targets = [target((64, 96), [[5, 5, 40, 45], [30, 20, 80, 60]]), target((64, 96), [[10, 8, 70, 50]])]
    return [([image], [one]) for image, one in zip(images, targets, strict=True)]


def detector_step(optimizer: str, **options) -> TrainStep:
    model = random_model()
    optimizer = build_optimizer(model, optimizer, 0.001, 1e-4)
    schedule = build_schedule(optimizer, "cosine", 10, 2)
    return TrainStep(model, optimizer, schedule, build_ema(model, 0.9), clip=10.0, **options)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_restored_state_continues_bit_for_bit(optimizer, steps):
    whole, first, second = (detector_step(optimizer) for _ in range(3))
    for i, batches in enumerate([steps, steps[:1], steps[1:]]):
        whole(batches, [(i, j) for j in range(len(batches))])
    first(steps, [(0, 0), (0, 1)])
    file = io.BytesIO(snapshot(first))
    second.load_state_dict(torch.load(file, weights_only=True))
    torch.rand(7)  # another process is in another random state
    second(steps[:1], [(1, 0)])
    second(steps[1:], [(2, 0)])
    assert snapshot(second) == snapshot(whole)


def test_lr_is_the_rate_of_the_last_step_taken():
    train_step = fake_train_step(lr=8.0)
    train_step.schedule = torch.optim.lr_scheduler.LambdaLR(train_step.optimizer, lambda step: 0.5**step)
    assert train_step.lr == 8.0
    for rate in (8.0, 4.0, 2.0):
        used = train_step.optimizer.param_groups[0]["lr"]
        assert train_step([batch(1.0)], [(0,)]).taken and train_step.lr == used == rate
    train_step([batch(NAN)], [(0,)])
    assert train_step.lr == 2.0


def test_layers_run_in_16_bits_and_losses_in_float32(steps):
    train_step = detector_step("sgd", dtype=torch.bfloat16)
    seen = {}
    for name in ("backbone.fpn.layer_blocks.0.0", "roi_heads.box_head.fc6", "roi_heads.mask_head.0.0"):
        part = train_step.model.get_submodule(name)
        part.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))
    step = train_step(steps, [(0,), (1,)])
    assert step.taken and {p.dtype for p in train_step.model.parameters()} == {torch.float32}
    exact = detector_step("sgd")(steps, [(0,), (1,)])
    assert step.losses == pytest.approx(exact.losses, rel=0.1) and step.losses != exact.losses
    assert set(seen.values()) == {torch.bfloat16} and len(seen) == 3


@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn"])
def test_outputs_of_16_bit_layers_are_float32(name):
    model = build(replace(TINY_ARCHITECTURE, head=name), 4)
    with autocast_layers(model, torch.bfloat16):
        maps = model.backbone(torch.zeros(1, 3, 64, 64))
        scores, _ = model.rpn.head(list(maps.values()))
    assert {m.dtype for m in (*maps.values(), *scores)} == {torch.float32}
    assert model.backbone(torch.zeros(1, 3, 64, 64))["0"].dtype == torch.float32


def test_autocast_ends_after_an_error():
    model = build(TINY_ARCHITECTURE, 4)
    with pytest.raises(RuntimeError), autocast_layers(model, torch.bfloat16):
        model.backbone(torch.zeros(1, 4, 64, 64))
    assert not torch.is_autocast_enabled("cpu")


def test_mixed_precision_needs_native_16_bit_arithmetic(monkeypatch):
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="`amp=True`: this cpu has no native 16-bit arithmetic"):
        half_dtype(torch.device("cpu"))
    monkeypatch.setattr("detect.runtime.cpu_has_bfloat16", lambda: True)
    assert half_dtype(torch.device("cpu")) is torch.bfloat16


def test_a_float16_overflow_lowers_the_scale_and_fails_only_at_scale_one(monkeypatch):
    train_step = fake_train_step(lr=1.0, dtype=torch.float16)
    train_step.model.weight.register_hook(lambda gradient: gradient * NAN)
    seen = [train_step([batch(1.0)], [(i,)]) for i in range(40)]
    assert not any(step.taken for step in seen) and weight(train_step) == 1.0
    assert [step.failed for step in seen] == sorted(step.failed for step in seen)  # the scale is lowered first
    assert not seen[0].failed and seen[-1].failed


def test_a_float16_overflow_keeps_the_statistics_of_norms():
    class Normed(FakeDetector):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images, targets):
            self.norm(torch.stack(images))
            return super().forward(images, targets)

    train_step = fake_train_step(lr=1.0, model=Normed(), dtype=torch.float16)
    train_step.model.weight.register_hook(lambda gradient: gradient * NAN)
    step = train_step([batch(1.0)], [(0,)])
    assert not step.taken and not step.failed and train_step.model.norm.num_batches_tracked == 0
