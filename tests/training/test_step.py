"""A step of training: its gradient, its limits, and that nothing moves where something is not finite."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
import torch
from helpers.fake_learner import FakeDetector, batch, fake_learner
from helpers.tiny_models import TINY_ARCHITECTURE, make_image, random_model, target
from torch import nn

from detect.errors import UsageError
from detect.models.builder import build
from detect.training.amp import half_dtype, mixed
from detect.training.optimizer import build_ema, build_optimizer, build_schedule
from detect.training.step import TrainStep

NAN, INF = float("nan"), float("inf")


def weight(learner: TrainStep) -> float:
    return float(next(learner.model.parameters()).detach())


def test_a_step_of_several_batches_goes_down_the_mean_of_their_losses():
    learner = fake_learner(lr=1.0)
    step = learner.step([batch(1.0), batch(5.0)], [(0,), (1,)])
    assert weight(learner) == pytest.approx(1.0 - 3.0)
    assert step.losses == {"loss_a": 3.0, "loss_b": 2.0, "loss": 5.0} and step.norm == pytest.approx(3.0)
    assert [one["loss"] for one in step.each] == [3.0, 7.0] and step.taken and not step.failed


@pytest.mark.parametrize(("clip", "moved"), [(0.0, 5.0), (2.0, 2.0), (100.0, 5.0)])
def test_clip_bounds_the_norm_of_the_gradients(clip, moved):
    learner = fake_learner(lr=1.0, clip=clip)
    learner.step([batch(5.0)], [(0,)])
    assert weight(learner) == pytest.approx(1.0 - moved, abs=1e-4)


class Norms(FakeDetector):
    """With statistics that a batch changes."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images, targets):
        return super().forward([self.norm(images[0][None])[0] + images[0]], targets)


@pytest.mark.parametrize("bad", [(NAN,), (1.0, INF), (INF, -INF)])
@pytest.mark.parametrize("place", [0, 1])
def test_where_a_loss_is_not_finite_nothing_moves(bad, place):
    learner = fake_learner(lr=1.0, model=Norms(), momentum=0.9, decay=0.5)
    learner.step([batch(1.0)], [(0,)])
    before = snapshot(learner)
    batches = [batch(2.0), batch(2.0)]
    batches[place] = batch(*bad[:1]) if len(bad) == 1 else batch(bad[1])
    step = learner.step(batches, [(1,), (2,)])
    assert step.failed and not step.taken and snapshot(learner) == before
    assert all(p.grad is None for p in learner.model.parameters())


def snapshot(learner: TrainStep) -> bytes:
    file = io.BytesIO()
    torch.save(learner.state(), file)
    return file.getvalue()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_where_only_the_gradient_is_not_finite_nothing_moves_either(clip):
    learner = fake_learner(lr=1.0, clip=clip)
    learner.model.weight.register_hook(lambda gradient: gradient * INF)
    step = learner.step([batch(1.0)], [(0,)])
    assert step.failed and weight(learner) == 1.0 and learner.schedule.last_epoch == 0


@pytest.fixture
def steps():
    images = [torch.from_numpy(make_image((64, 96), seed)).permute(2, 0, 1) / 255 for seed in (1, 2)]
    targets = [target((64, 96), [[5, 5, 40, 45], [30, 20, 80, 60]]), target((64, 96), [[10, 8, 70, 50]])]
    return [([image], [one]) for image, one in zip(images, targets, strict=True)]


def detector_learner(optimizer: str, **options) -> TrainStep:
    model = random_model()
    optimizer = build_optimizer(model, optimizer, 0.001, 1e-4)
    schedule = build_schedule(optimizer, "cosine", 10, 2)
    return TrainStep(model, optimizer, schedule, build_ema(model, 0.9), clip=10.0, **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_learner_goes_on_in_another_process_bit_for_bit(optimizer, steps):
    whole, first, second = (detector_learner(optimizer) for _ in range(3))
    for i, batches in enumerate([steps, steps[:1], steps[1:]]):
        whole.step(batches, [(i, j) for j in range(len(batches))])
    first.step(steps, [(0, 0), (0, 1)])
    file = io.BytesIO(snapshot(first))
    second.restore(torch.load(file, weights_only=True))
    torch.rand(7)  # another process has drawn otherwise
    second.step(steps[:1], [(1, 0)])
    second.step(steps[1:], [(2, 0)])
    assert snapshot(second) == snapshot(whole)


def test_the_rate_told_is_that_of_the_step_that_was_taken():
    learner = fake_learner(lr=8.0)
    learner.schedule = torch.optim.lr_scheduler.LambdaLR(learner.optimizer, lambda step: 0.5**step)
    assert learner.lr == 8.0
    for rate in (8.0, 4.0, 2.0):
        used = learner.optimizer.param_groups[0]["lr"]
        assert learner.step([batch(1.0)], [(0,)]).taken and learner.lr == used == rate
    learner.step([batch(NAN)], [(0,)])
    assert learner.lr == 2.0  # of the last one that was taken


def test_layers_run_in_16_bits_and_losses_in_32(steps):
    learner = detector_learner("sgd", dtype=torch.bfloat16)
    seen = {}
    for name in ("backbone.fpn.layer_blocks.0.0", "roi_heads.box_head.fc6", "roi_heads.mask_head.0.0"):
        part = learner.model.get_submodule(name)
        part.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.dtype}))
    step = learner.step(steps, [(0,), (1,)])
    assert step.taken and {p.dtype for p in learner.model.parameters()} == {torch.float32}
    exact = detector_learner("sgd").step(steps, [(0,), (1,)])
    assert step.losses == pytest.approx(exact.losses, rel=0.1) and step.losses != exact.losses
    assert set(seen.values()) == {torch.bfloat16} and len(seen) == 3


@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn"])
def test_what_16_bit_layers_hand_on_is_float32(name):
    model = build(replace(TINY_ARCHITECTURE, head=name), 4)
    with mixed(model, torch.bfloat16):
        maps = model.backbone(torch.zeros(1, 3, 64, 64))
        scores, _ = model.rpn.head(list(maps.values()))
    assert {m.dtype for m in (*maps.values(), *scores)} == {torch.float32}
    assert model.backbone(torch.zeros(1, 3, 64, 64))["0"].dtype == torch.float32  # and afterwards nothing is left


def test_nothing_of_mixed_precision_stays_after_an_error():
    model = build(TINY_ARCHITECTURE, 4)
    with pytest.raises(RuntimeError), mixed(model, torch.bfloat16):
        model.backbone(torch.zeros(1, 4, 64, 64))
    assert not torch.is_autocast_enabled("cpu")


def test_a_cpu_without_16_bit_arithmetic_is_refused(monkeypatch):
    monkeypatch.setattr("detect.training.amp.cpu_has_bfloat16", lambda: False)
    with pytest.raises(UsageError, match="--amp: cpu has no quick 16-bit arithmetic here"):
        half_dtype(torch.device("cpu"))
    monkeypatch.setattr("detect.training.amp.cpu_has_bfloat16", lambda: True)
    assert half_dtype(torch.device("cpu")) is torch.bfloat16


def test_float16_that_overflows_is_no_failure_and_a_gradient_that_never_is_finite_is(monkeypatch):
    learner = fake_learner(lr=1.0, dtype=torch.float16)
    learner.model.weight.register_hook(lambda gradient: gradient * NAN)
    seen = [learner.step([batch(1.0)], [(i,)]) for i in range(40)]
    assert not any(step.taken for step in seen) and weight(learner) == 1.0
    assert [step.failed for step in seen] == sorted(step.failed for step in seen)  # the scale comes down first
    assert not seen[0].failed and seen[-1].failed


def test_float16_that_overflows_leaves_the_statistics_of_norms_alone():
    class Normed(FakeDetector):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images, targets):
            self.norm(torch.stack(images))
            return super().forward(images, targets)

    learner = fake_learner(lr=1.0, model=Normed(), dtype=torch.float16)
    learner.model.weight.register_hook(lambda gradient: gradient * NAN)
    step = learner.step([batch(1.0)], [(0,)])
    assert not step.taken and not step.failed and learner.model.norm.num_batches_tracked == 0
