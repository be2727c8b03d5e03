"""Training on a full disk, or killed while it writes: saved epochs stay, and the run can be resumed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.tiny_run import SCORES, resume, tiny_run, train
from helpers.training import one_line, rows

from detect import runtime
from detect.cli.commands import train as train_command
from detect.cli.exit_status import exit_status
from detect.errors import DiskError
from detect.evaluation import coco_metrics, predict
from detect.models import checkpoint
from detect.structures.detections import Detections
from detect.text import counted
from detect.training import trainer, validation
from detect.training.logging.jsonl import MetricsLog
from detect.training.loop import EpochProgress
from detect.training.run import (
    BEST,
    FILES,
    ID_FILE,
    LAST,
    LOG,
    REPORT,
    RESULTS,
    START_FILES,
    STATE,
    TENSORBOARD,
    TrainingRun,
)


def assert_equal_runs(folder: Path, whole: Path) -> None:
    """Check that both runs have the same files, bit for bit, except for durations."""
    written = {LAST, BEST, STATE, LOG, RESULTS}
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()} == written
    for name in (BEST, LAST, STATE):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert rows(folder) == rows(whole)
    assert results(folder) == [row["epoch"] for row in rows(whole)]


def results(folder: Path) -> list[int]:
    """Return the epochs in results.csv."""
    return [int(line.split(",")[0]) for line in (folder / RESULTS).read_text().splitlines()[1:]]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of a process")
def test_a_run_killed_at_any_disk_access_ends_like_an_undisturbed_one(tmp_path):
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "helpers" / "tiny_run.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr
    resumed_after = [int(line) for line in done.stdout.split()]
    assert resumed_after == sorted(resumed_after) and set(resumed_after) == {0, 1, 2, 3}
    assert len(resumed_after) > 20
    for access in range(1, len(resumed_after) + 1):
        assert_equal_runs(tmp_path / str(access), tmp_path / "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny_run(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "epoch"), [(LAST, 2), (LAST, 3), (STATE, 2), (STATE, 3), (LOG, 2), (LOG, 3), (BEST, 2)]
)
def test_an_epoch_that_cannot_be_saved_is_repeated(tmp_path, whole, monkeypatch, name, epoch):
    times = 0

    def full(path: Path, *_: object) -> None:
        nonlocal times
        times += path.name == name
        if times == (2 * epoch if name == STATE else epoch):  # which is also written within each epoch
            raise DiskError(f"cannot write {path}: No space left on device")

    with monkeypatch.context() as patch:
        for module, function in ((checkpoint, "save"), (checkpoint, "save_training_state"), (MetricsLog, "write")):
            former = getattr(module, function)
            patch.setattr(module, function, lambda *a, former=former: (full(where(a)), former(*a)))
        with pytest.raises(DiskError):
            train(run := tiny_run(tmp_path))
    finished = epoch if name == BEST else epoch - 1
    assert run.epoch == TrainingRun.load_state(tmp_path)["epoch"] == finished
    assert checkpoint.load(tmp_path / BEST).training["epoch"] == min(epoch - 1, 2)
    assert resume(tmp_path) == finished
    assert_equal_runs(tmp_path, whole)


def where(arguments: tuple) -> Path:
    """Return the file that a call writes."""
    return arguments[0].path if isinstance(arguments[0], MetricsLog) else arguments[1]


def test_a_state_without_best_epoch_is_accepted(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    old = TrainingRun.load_state(tmp_path)
    del old["best_epoch"]
    checkpoint.save_training_state(old, tmp_path / STATE)
    assert resume(tmp_path) == len(SCORES)


def test_a_run_with_deleted_checkpoints_can_be_resumed(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    checkpoint.save_training_state(TrainingRun.load_state(tmp_path) | {"best_epoch": len(SCORES)}, tmp_path / STATE)
    (tmp_path / BEST).unlink()
    (tmp_path / LAST).unlink()
    assert resume(tmp_path) == len(SCORES)


def test_weights_that_only_the_state_of_a_finished_run_has_stay_in_it(tmp_path, whole, capsys):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (run := tiny_run(tmp_path)).restore(TrainingRun.load_state(tmp_path))
    for copy in (None, BEST):  # of epoch 2; the last one is 3
        (tmp_path / LAST).unlink()
        if copy:
            shutil.copy(tmp_path / copy, tmp_path / LAST)
        run.reduce_state(tmp_path)
        assert "model" in TrainingRun.load_state(tmp_path)
        shutil.copy(whole / LAST, tmp_path / LAST)
    run.save_progress(EpochProgress(batches=1))  # within epoch 4
    run.reduce_state(tmp_path)
    assert "model" in TrainingRun.load_state(tmp_path)
    shutil.copy(whole / STATE, tmp_path / STATE)
    run.reduce_state(tmp_path)
    assert "model" not in TrainingRun.load_state(tmp_path) and not capsys.readouterr().err


def test_a_state_that_cannot_be_reduced_keeps_its_full_size(tmp_path, whole, monkeypatch, capsys):
    def full(_: object, path: Path) -> None:
        raise DiskError(f"cannot write {path}: No space left on device")

    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(checkpoint, "save_training_state", full)
    TrainingRun.reduce_state(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert "keeps its full size" in line
    assert (tmp_path / STATE).read_bytes() == (whole / STATE).read_bytes()


def test_a_run_without_weights_leaves_no_folder(tmp_path):
    (run := tiny_run(tmp_path / "run")).folder.mkdir()
    for name in (*START_FILES, f"{TENSORBOARD}/events", "wandb/run/log"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).touch()
    run.delete_if_empty()
    assert not run.folder.exists()


@pytest.fixture
def script(monkeypatch, tmp_path) -> Callable[..., int]:
    """Run train.py in this process with fake epochs and return its exit status."""
    data = render_shapes(tmp_path, {"train": 2, "val": 2})
    monkeypatch.setattr(runtime, "available_cores", lambda: 1)
    monkeypatch.setattr(trainer, "train_one_epoch", lambda *_, **__: {"loss": 1.0})
    monkeypatch.setattr(validation, "validation_losses", lambda *_, **__: {"loss": 1.0})
    monkeypatch.setattr(predict, "detect_for_dataset", lambda *_, **__: [Detections((96, 128))] * 2)
    monkeypatch.setattr(trainer, "example_images", lambda *_: {})
    monkeypatch.setattr(coco_metrics, "score", lambda *_, **__: {"bbox": {"AP": 0.5, "AP50": 0.5}})
    fresh = ["--data", data, "--pretrained", "none", "--head", "fasterrcnn", "--name", "x y", "--output-dir", tmp_path]
    few = ["--fpn-channels", 8, "--imgsz", 64, "--epochs", 3]

    def call(*flags: object) -> int:
        line = ["train.py", *(flags or (*fresh, *few)), "--workers", 0, "--device", "cpu", "--no-report", "--quiet"]
        monkeypatch.setattr(sys, "argv", list(map(str, line)))
        return exit_status(train_command.main)

    return call


@pytest.mark.parametrize("failing", [1, 2])
def test_an_error_on_a_full_disk_says_how_to_continue(script, tmp_path, monkeypatch, capsys, failing):
    state_of, left = torch.save, iter(range(failing - 1))

    def full(values, file) -> None:
        state_of(values, file)
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        assert script() == 2
    folder = tmp_path / "x y"
    hints = ["stopped before the first epoch was saved", f"its weights are in {folder / LAST}"]
    if failing > 1:
        hints = [f"stopped after {counted(failing - 1, 'finished epoch')}", f"--resume '{folder}'"]
    error = one_line(capsys.readouterr().err)
    assert f"cannot write {folder / STATE}: No space left on device" in error and all(hint in error for hint in hints)
    assert checkpoint.load(folder / LAST).training["epoch"] == failing
    assert not [path for path in folder.iterdir() if path.name[0] == "."]
    assert script("--resume", folder) == (0 if failing > 1 else 2)
    if failing > 1:
        assert [row["epoch"] for row in rows(folder)] == [1, 2, 3]


@pytest.mark.slow
def test_a_finished_run_survives_a_disk_that_is_full_when_it_is_extended(script, tmp_path, monkeypatch):
    assert script() == 0
    folder, save = tmp_path / "x y", torch.save
    assert "model" not in TrainingRun.load_state(folder)
    for writes in (0, 1):  # of the state, before the disk is full: at the start, and after LAST of the next epoch
        left = iter(range(writes))

        def full(values, file, left=left) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            save(values, file)

        with monkeypatch.context() as patch:
            patch.setattr(torch, "save", full)
            assert script("--resume", folder, "--epochs", 4) == 2
        assert checkpoint.load(folder / LAST).training["epoch"] == 3 + writes
    assert script("--resume", folder) == 0
    assert [row["epoch"] for row in rows(folder)] == [1, 2, 3, 4]
    assert "model" not in TrainingRun.load_state(folder)


def test_ctrl_c_while_the_first_epoch_is_saved_keeps_its_weights(script, tmp_path, monkeypatch, capsys):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_training_state", stop)
    assert script() == 130
    kept = tmp_path / "x y" / LAST
    assert f"its weights are in {kept}" in capsys.readouterr().err
    assert checkpoint.load(kept).training["epoch"] == 1


KILL = """
import os, runpy, signal, sys
name, times = sys.argv[1], int(sys.argv[2])
sys.argv[:] = sys.argv[3:]
left = iter(range(times - 1))
def watch(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(name) and next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_real_script_killed_while_it_writes_resumes_to_the_same_weights(tmp_path):
    data = render_shapes(tmp_path, {"train": 4, "val": 2})
    flags = ["train.py", "--data", data, "--pretrained", "none", "--head", "fasterrcnn", "--epochs", 2, "--imgsz", 64]
    flags += [
        "--lr",
        0.001,
        "--workers",
        0,
        "--device",
        "cpu",
        "--no-report",
        "--quiet",
        "--output-dir",
        tmp_path,
        "--ema",
        0.9,
    ]

    def call(*command: object) -> int:
        return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=False).returncode

    assert call(*flags, "--name", "whole") == 0
    for name, times in ((LAST, 2), (STATE, 2), (BEST, 1)):
        folder = tmp_path / f"killed_{name}"
        assert call("-c", KILL, name, times, *flags, "--name", folder.name) == -9
        assert call("train.py", "--resume", folder, "--device", "cpu", "--quiet") == 0
        assert {path.name for path in folder.iterdir()} == {*FILES, TENSORBOARD} - {REPORT, ID_FILE}
        for file in (BEST, LAST):
            ours, theirs = (checkpoint.load(run / file) for run in (folder, tmp_path / "whole"))
            assert all(torch.equal(ours.state[k], theirs.state[k]) for k in theirs.state)
            assert ours.training["epoch"] == theirs.training["epoch"] and ours.metrics == theirs.metrics
        assert rows(folder) == rows(tmp_path / "whole")
