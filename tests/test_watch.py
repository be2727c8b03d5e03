"""When the state of a running epoch is kept, and what of it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from detect import distributed
from detect.engine import Progress
from detect.watch import KEEP_SECONDS, Watch


def watch(kept: list[Progress], ago: float) -> Watch:
    """Of a run that notes what it keeps, and kept something so many seconds ago."""
    run = SimpleNamespace(keep=kept.append)
    return Watch(run, {}, 5, None, None, kept=time.monotonic() - ago)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "times"), [(0.05, 0), (0.15, 1)])
def test_a_trained_epoch_is_kept_before_its_validation_where_it_took_long(share, times):
    kept: list[Progress] = []
    watch(kept, share * KEEP_SECONDS).trained(Progress(batches=3))
    assert kept == [Progress(batches=3)] * times


def test_what_is_kept_is_the_mean_of_all_processes(monkeypatch):
    monkeypatch.setattr(distributed, "gathered", lambda mine: [mine, {"loss": 4.0}])
    kept: list[Progress] = []
    watch(kept, KEEP_SECONDS).trained(Progress(batches=2, steps=1, sums={"loss": 2.0}))
    assert kept == [Progress(batches=2, steps=1, sums={"loss": 3.0})]
