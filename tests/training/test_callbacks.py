"""When the state of a running epoch is kept, and what of it."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest

from detect import distributed
from detect.errors import TrainingError
from detect.training.callbacks import KEEP_SECONDS, MOST_REPLAYS, Watch
from detect.training.logging.progress import Pace
from detect.training.loop import Progress
from detect.training.step import Step


def watch(kept: list[Progress], ago: float) -> Watch:
    """Of a run that notes what it keeps, and kept something so many seconds ago."""
    run = SimpleNamespace(keep=kept.append)
    return Watch(run, {}, 5, None, None, kept=time.monotonic() - ago)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "times"), [(0.05, 0), (0.15, 1)])
def test_a_trained_epoch_is_kept_before_its_validation_where_it_took_long(share, times):
    kept: list[Progress] = []
    watch(kept, share * KEEP_SECONDS).trained(Progress(batches=3))
    assert kept == [Progress(batches=3)] * times


def test_steps_before_a_stop_within_the_epoch_are_not_left():
    run = SimpleNamespace(epoch=1, within=Progress(batches=8, steps=6, skipped=1))
    pace = Pace(epochs=3, steps=10, clock=lambda: 0.0)
    seen = []
    pace.begin_epoch = lambda *behind: seen.append(behind)  # type: ignore[method-assign]
    Watch(run, {}, 5, pace, None).epoch(None, None)  # type: ignore[arg-type]
    assert seen == [(1, 7)]


def test_the_board_is_told_of_the_gradient_where_a_step_was_taken(monkeypatch):
    told = []
    learner = SimpleNamespace(device="cpu", lr=0.1, schedule=SimpleNamespace(last_epoch=4))
    board = SimpleNamespace(step=lambda *figures: told.append(figures))
    pace, line = Pace(epochs=1, steps=9), SimpleNamespace(set_postfix_str=lambda *_, **__: None)
    look = Watch(SimpleNamespace(learner=learner), {}, 5, pace, board)  # type: ignore[arg-type]
    for taken in (True, False):
        step = Step({"loss": 2.0}, 3.0, [], [], taken=taken, failed=False)
        look(line, SimpleNamespace(asked=0), step, [], Progress(steps=1, sums={"loss": 2.0}))  # type: ignore[arg-type]
    assert told == [(4, {"loss": 2.0, "gradient_norm": 3.0}, 0.1)]


def test_replays_of_former_starts_neither_stand_in_the_way_nor_are_named(monkeypatch, tmp_path):
    for number in range(5):
        (tmp_path / f"replay_1_{number}_0.pt").touch()
    monkeypatch.setattr("detect.training.callbacks.replay.keep", lambda path, *_, **__: path.touch())
    run = SimpleNamespace(folder=tmp_path, epoch=8, class_names=["kite"], learner=None, architecture=None)
    watch = Watch(run, {0: "a.jpg"}, 3, Pace(epochs=9, steps=9), None)  # type: ignore[arg-type]
    step = Step({"loss": math.nan}, 1.0, [{"loss": math.nan}], [], taken=False, failed=True)
    batches = [([], [{"image_id": 0}])]
    for number in range(1, 4):
        watch._tell(step, batches, Progress(batches=number, skipped=number))  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=rf"--replay {tmp_path}/replay_9_1_0\.pt looks closer"):
        watch._tell(step, batches, Progress(batches=4, skipped=4))  # type: ignore[arg-type]
    assert len(list(tmp_path.iterdir())) == 5 + MOST_REPLAYS


def test_what_is_kept_is_the_mean_of_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "gathered", lambda mine: [mine, {"loss": 4.0}])
    kept: list[Progress] = []
    watch(kept, KEEP_SECONDS).trained(Progress(batches=2, steps=1, sums={"loss": 2.0}))
    assert kept == [Progress(batches=2, steps=1, sums={"loss": 3.0})]
