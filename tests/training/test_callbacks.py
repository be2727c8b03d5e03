"""What happens after a step: saving the state, logging, failed steps."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detect import distributed
from detect.errors import TrainingError
from detect.training import debug_step
from detect.training.callbacks import MAX_FAILED_STEP_FILES, SAVE_SECONDS, StepCallback
from detect.training.logging.progress import EtaEstimator
from detect.training.loop import EpochProgress
from detect.training.step import StepResult

BAR: Any = SimpleNamespace(set_postfix_str=lambda *_, **__: None)
INTERRUPT: Any = SimpleNamespace(requested=0)


def callback_of(run: Any, *, seconds_since_save: float = 0.0, **options: Any) -> StepCallback:
    eta = options.pop("eta", EtaEstimator(epochs=9, steps=9))
    saved_at = time.monotonic() - seconds_since_save
    return StepCallback(run, {0: "a.jpg"}, options.pop("max_skipped_steps", 5), eta, None, saved_at, **options)


def saving_callback(saved: list[EpochProgress], seconds_since_save: float) -> StepCallback:
    """Return the callback of a run that appends what it saves to ``saved``."""
    return callback_of(SimpleNamespace(save_progress=saved.append), seconds_since_save=seconds_since_save)


@pytest.mark.parametrize(("fraction", "times"), [(0.05, 0), (0.15, 1)])
def test_the_state_is_saved_before_the_validation_of_a_long_epoch(fraction, times):
    saved: list[EpochProgress] = []
    saving_callback(saved, fraction * SAVE_SECONDS).epoch_trained(EpochProgress(batches=3))
    assert saved == [EpochProgress(batches=3)] * times


def test_the_saved_losses_are_the_mean_over_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "all_gather", lambda mine: [mine, {"loss": 4.0}])
    saved: list[EpochProgress] = []
    saving_callback(saved, SAVE_SECONDS).epoch_trained(EpochProgress(batches=2, steps=1, sums={"loss": 2.0}))
    assert saved == [EpochProgress(batches=2, steps=1, sums={"loss": 3.0})]


def test_steps_of_a_resumed_epoch_do_not_count_as_remaining():
    clock = SimpleNamespace(now=0.0)
    eta = EtaEstimator(epochs=3, steps=10, clock=lambda: clock.now)
    run: Any = SimpleNamespace(epoch=1, epoch_progress=EpochProgress(batches=8, steps=6, skipped=1))
    callback_of(run, eta=eta).for_epoch(BAR, INTERRUPT)
    clock.now = 1.0
    eta.step_done()
    assert eta.seconds_left == 2 * 10 - 7 - 1


def test_tensorboard_gets_losses_and_gradient_norm_of_steps_that_were_taken():
    logged = []
    train_step = SimpleNamespace(device="cpu", lr=0.1, num_steps=4)
    run: Any = SimpleNamespace(train_step=train_step, epoch=0, epoch_progress=None)
    callback = callback_of(run)
    callback.tensorboard = SimpleNamespace(log_step=lambda *values: logged.append(values))  # type: ignore[assignment]
    on_step = callback.for_epoch(BAR, INTERRUPT)
    for taken in (True, False):
        result = StepResult({"loss": 2.0}, 3.0, [], [], taken=taken, failed=False)
        on_step(result, [], EpochProgress(steps=1, sums={"loss": 2.0}))
    assert logged == [(4, {"loss": 2.0, "gradient_norm": 3.0}, 0.1)]


def test_files_of_failed_steps_are_limited_per_start_of_the_process(monkeypatch, tmp_path, capsys):
    for number in range(5):
        (tmp_path / f"failed_step_1_{number}_0.pt").touch()
    monkeypatch.setattr(debug_step, "save_failed_step", lambda path, *_, **__: Path(path).touch())
    run: Any = SimpleNamespace(
        folder=tmp_path, epoch=8, epoch_progress=None, class_names=["kite"], train_step=None, architecture=None
    )
    on_step = callback_of(run, max_skipped_steps=3).for_epoch(BAR, INTERRUPT)
    result = StepResult({"loss": math.nan}, 1.0, [{"loss": math.nan}], [], taken=False, failed=True)
    batches: Any = [([], [{"image_id": 0}])]
    for number in range(1, 4):
        on_step(result, batches, EpochProgress(batches=number, skipped=number))
    assert capsys.readouterr().err.count("warning: epoch 9: the loss is not finite") == 3
    first = tmp_path / "failed_step_9_1_0.pt"
    with pytest.raises(TrainingError, match=rf"4 steps .* `max_skipped_steps=3`.*a.*`debug_step='{first}'`$"):
        on_step(result, batches, EpochProgress(batches=4, skipped=4))
    assert len(list(tmp_path.iterdir())) == 5 + MAX_FAILED_STEP_FILES
