"""Runs that are killed within an epoch, asked to stop, or meet losses that are not finite; early stopping."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.training import TINY, rows, without_masks

from detect.data import dataset
from detect.data.dataset import DetectionDataset
from detect.errors import DiskError
from detect.evaluation import coco_metrics
from detect.models import checkpoint
from detect.training import callbacks, validation
from detect.training.run import STATE

pytestmark = pytest.mark.slow

FASTER = ["--head", "fasterrcnn", *TINY]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 6, "val": 2})


@pytest.fixture
def saved_after_every_step(monkeypatch):
    """Save the state after every step."""
    monkeypatch.setattr(callbacks, "SAVE_SECONDS", 0.0)


def assert_same_runs(ours: Path, theirs: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        one, other = (checkpoint.load(folder / name).state for folder in (ours, theirs))
        assert all(torch.equal(one[k], other[k]) for k in other), name
    assert_equal(*(checkpoint.load_training_state(folder / STATE) for folder in (ours, theirs)))
    assert rows(ours) == rows(theirs)


def assert_equal(one: Any, other: Any) -> None:
    """Compare nested dicts and lists bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


MANY_FEATURES = ("--ema", 0.9, "--optimizer", "adamw", "--accumulate", 2, "--aug", "strong")


# images: number of images read for training before the kill; an epoch reads 6
@pytest.mark.parametrize(
    ("images", "more"),
    [
        (5, MANY_FEATURES),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in [(5, ()), (6, MANY_FEATURES), (10, MANY_FEATURES)]),
    ],
)
def test_a_run_killed_within_an_epoch_resumes_bit_for_bit(
    train_py, data, tmp_path, monkeypatch, saved_after_every_step, more, images
):
    flags = ["--data", data, "--epochs", 2, "--batch-size", 1, "--output-dir", tmp_path, *FASTER, *more]
    assert train_py(*flags, "--name", "whole") == 0
    item, left = DetectionDataset.item, iter(range(images))

    def killed(*arguments):
        if next(left, None) is None:
            raise RuntimeError("killed")  # not caught anywhere
        return item(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(DetectionDataset, "item", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train_py(*flags, "--name", "cut")
    state = checkpoint.load_training_state(tmp_path / "cut" / STATE)
    assert "epoch_progress" in state or images == 6
    assert train_py("--resume", tmp_path / "cut") == 0
    assert_same_runs(tmp_path / "cut", tmp_path / "whole")


def test_an_interrupt_waits_for_the_step_and_loses_nothing(train_py, data, tmp_path, monkeypatch, capsys):
    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, *FASTER]
    assert train_py(*flags, "--name", "whole") == 0
    read, left = dataset.read_resized_record, iter(range(3))

    def asked(*arguments):
        if next(left, None) is None:
            signal.raise_signal(signal.SIGINT)
        return read(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_resized_record", asked)
        former = signal.signal(signal.SIGINT, signal.default_int_handler)
        assert train_py(*flags, "--name", "cut") == 130
        signal.signal(signal.SIGINT, former)
    hint = f"continue with --resume {tmp_path}/cut"
    assert f"stopped after 0 finished epochs and 2 batches; {hint}\n" in capsys.readouterr().err
    assert train_py("--resume", tmp_path / "cut") == 0
    assert_same_runs(tmp_path / "cut", tmp_path / "whole")


SAVE_EVERY_STEP = """
import runpy, sys
from detect.training import callbacks
sys.argv[:] = sys.argv[1:]
callbacks.SAVE_SECONDS = 0.0
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_real_script_with_workers_survives_kills_at_any_time(data, tmp_path):
    flags = ["train.py", "--data", data, "--epochs", 3, "--output-dir", tmp_path, *FASTER, "--workers", 2]
    start = [sys.executable, "-c", SAVE_EVERY_STEP]

    def call(*command: object) -> int:
        return subprocess.run([*start, *map(str, command)], cwd=ROOT, check=False).returncode

    assert call(*flags, "--name", "whole") == 0
    for number, (writes, fraction) in enumerate([(2, 0.2), (5, 0.5), (8, 0.8)]):
        folder = tmp_path / f"cut_{number}"
        with subprocess.Popen([*start, *map(str, flags), "--name", folder.name], cwd=ROOT) as process:
            wait_for_writes(folder / STATE, writes, fraction, process)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert call("train.py", "--resume", folder, "--workers", 2) == 0
        assert_same_runs(folder, tmp_path / "whole")


def wait_for_writes(path: Path, count: int, fraction: float, process: subprocess.Popen) -> None:
    """Wait until ``process`` has written ``path`` ``count`` times, and a ``fraction`` of the last interval longer."""
    stamps: list[int] = []
    times: list[float] = []
    while len(stamps) < count:
        assert process.poll() is None
        stamp = path.stat().st_mtime_ns if path.exists() else None
        if stamp and stamp not in stamps[-1:]:
            stamps.append(stamp)
            times.append(time.monotonic())
        time.sleep(0.002)
    time.sleep(fraction * (times[-1] - times[-2]))


# Losses that are not finite


def test_a_step_whose_loss_is_not_finite_is_skipped_and_can_be_analyzed(train_py, data, tmp_path, monkeypatch, capsys):
    item = DetectionDataset.item

    def spoiled(self, index, epoch, again=0):
        image, target = item(self, index, epoch, again)
        return (image * float("nan"), target) if epoch == 0 and index == 3 and len(self) == 6 else (image, target)

    monkeypatch.setattr(DetectionDataset, "item", spoiled)
    flags = ["--data", data, "--epochs", 1, "--batch-size", 1, "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags) == 0
    (failed_step,) = (tmp_path / "x").glob("failed_step_*.pt")
    said = capsys.readouterr().err
    assert "warning: epoch 1: the loss is not finite (loss_classifier nan" in said
    assert f"on the batch of train_003.jpg; analyze it with --debug-step {failed_step}; the step was skipped" in said
    assert train_py("--debug-step", failed_step) == 0
    said = capsys.readouterr().out
    assert "batch of train_003.jpg" in said and "nan  loss_classifier" in said and "values nan to nan" in said


def test_too_many_failed_steps_stop_the_run_and_name_a_file(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 9, "--batch-size", 1, "--output-dir", tmp_path, "--name", "x", *FASTER]
    wild = ["--lr", 1e20, "--clip", 0, "--warmup-steps", 0, "--max-skipped-steps", 2]
    assert train_py(*flags, *wild) == 2
    error = capsys.readouterr().err
    assert "error: epoch 1: the " in error and "3 steps of this epoch failed, more than --max-skipped-steps 2" in error
    assert f"--debug-step {tmp_path}" in error.splitlines()[-1]
    assert 1 <= len(list((tmp_path / "x").glob("failed_step_*.pt"))) <= callbacks.MAX_FAILED_STEP_FILES


# Early stopping


@pytest.fixture
def scores(monkeypatch):
    """Set the AP on val of each epoch."""

    def ask(*values: float) -> None:
        left = iter(values)
        monkeypatch.setattr(
            coco_metrics, "score", lambda *_, **__: {"bbox": {"AP": (ap := next(left)), "AP50": 1 - ap}}
        )

    return ask


@pytest.mark.parametrize(("metric", "best", "epochs"), [("bbox_AP", 2, 4), ("bbox_AP50", 1, 3)])
def test_training_stops_early_without_a_better_epoch(train_py, data, tmp_path, scores, capsys, metric, best, epochs):
    scores(0.1, 0.3, 0.3, 0.2, 0.9)
    flags = ["--data", data, "--epochs", 5, "--patience", 2, "--metric", metric, "--output-dir", tmp_path]
    assert train_py(*flags, "--name", "x", *FASTER) == 0
    assert [row["epoch"] for row in rows(tmp_path / "x")] == list(range(1, epochs + 1))
    assert checkpoint.load(tmp_path / "x" / "best.safetensors").training["epoch"] == best
    said = capsys.readouterr().out
    assert f"stopped early: 2 epochs without a better {metric}" in said and f"in epoch {best}:" in said


def test_a_run_that_stopped_early_can_be_resumed(train_py, data, tmp_path, scores, capsys):
    scores(0.3, 0.2, 0.1, 0.2, 0.4, 0.1, 0.1, 0.9)
    flags = ["--data", data, "--epochs", 8, "--patience", 2, "--output-dir", tmp_path, "--name", "x", *FASTER]
    ends = [3, 7]  # resumed: epoch 5 is better, then two are not
    for more, end in zip((flags, ["--resume", tmp_path / "x"]), ends, strict=True):
        assert train_py(*more) == 0
        assert [row["epoch"] for row in rows(tmp_path / "x")] == list(range(1, end + 1))
        assert "stopped early: 2 epochs" in capsys.readouterr().out


def test_the_lowest_loss_can_select_the_best_epoch(train_py, data, tmp_path, monkeypatch, capsys):
    left = iter([3.0, 3.0, 1.0, 1.0, 2.0, 2.0])  # of two batches in each epoch
    monkeypatch.setattr(validation, "validation_losses", lambda *_, **__: {"loss": next(left)})
    flags = ["--data", data, "--epochs", 3, "--metric", "loss", "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags) == 0
    assert "best loss on val: 1.000 in epoch 2" in capsys.readouterr().out


def test_an_epoch_whose_loss_is_not_finite_is_never_the_best(train_py, data, tmp_path, monkeypatch, capsys):
    left = iter([float("nan"), 1.0, 3.0, 3.0])  # of two batches in each epoch
    monkeypatch.setattr(validation, "validation_losses", lambda *_, **__: {"loss": next(left)})
    flags = ["--data", data, "--epochs", 2, "--metric", "loss", "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags) == 0
    assert "best loss on val: 3.000 in epoch 2" in capsys.readouterr().out


def test_a_mask_metric_needs_masks(train_py, tmp_path, data, capsys):
    boxes = without_masks(data, tmp_path)
    for flags in (["--data", boxes], ["--data", data, "--head", "fasterrcnn"]):
        assert train_py(*flags, "--metric", "segm_AP", "--output-dir", tmp_path / "o", *TINY) == 2
        assert "--metric segm_AP needs masks, but the model predicts none or val has none" in capsys.readouterr().err


def test_masks_are_trained_although_val_has_none(train_py, tmp_path, data, capsys):
    boxes = without_masks(data, tmp_path)
    mixed = yaml.safe_load(data.read_text()) | {"root": str(data.parent / "files")}
    mixed["splits"]["val"] = yaml.safe_load(boxes.read_text())["splits"]["val"]
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(mixed))
    flags = ["--data", tmp_path / "mixed.yaml", "--epochs", 1, "--output-dir", tmp_path / "o", "--name", "x", *TINY]
    assert train_py(*flags) == 0
    (row,) = rows(tmp_path / "o" / "x")
    assert "loss_mask" in row["losses"] and row["val_losses"] is None and set(row["val"]) >= {"bbox"}
    assert train_py(*flags, "--metric", "loss") == 2
    assert "--metric loss: val has no masks" in capsys.readouterr().err


def test_a_failed_step_that_cannot_be_saved_does_not_stop_training(train_py, data, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise DiskError("cannot write step.pt: No space left on device")

    monkeypatch.setattr("detect.training.debug_step.save_failed_step", full)
    item = DetectionDataset.item

    def spoiled(self, index, epoch, again=0):
        image, target = item(self, index, epoch, again)
        return (image * float("nan"), target) if index == 3 and len(self) == 6 else (image, target)

    monkeypatch.setattr(DetectionDataset, "item", spoiled)
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    said = capsys.readouterr().err
    assert "No space left on device" in said and "the step was skipped" in said
