"""train.py is interrupted, says how to continue, and ends with the same weights after it is resumed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.tiny_run import tiny_run
from helpers.training import TINY, rows

from detect.data import dataset
from detect.errors import TrainingError
from detect.models import checkpoint
from detect.training import trainer
from detect.training.loop import EpochProgress
from detect.training.run import TrainingRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.fixture
def interrupt_at(monkeypatch):
    """``interrupt_at(n)`` raises Ctrl-C while the nth image from now is read for training."""
    read = dataset.read_resized_record

    def ask(number: int) -> None:
        left = iter(range(number - 1))

        def read_or_stop(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return read(*arguments)

        monkeypatch.setattr(dataset, "read_resized_record", read_or_stop)

    yield ask
    monkeypatch.setattr(dataset, "read_resized_record", read)


FROM_WEIGHTS = ("--pretrained", "balloon", "--freeze", 2, "--copy-paste", 1, "--color", "strong")


def test_an_interrupted_validation_loses_no_step(train_py, data, tmp_path, monkeypatch, capsys):
    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--name", "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(
            "detect.evaluation.predict.detect_for_dataset", lambda *_, **__: signal.raise_signal(signal.SIGINT)
        )
        assert train_py(*flags, "--name", "cut") == 130
    assert "stopped after 0 finished epochs and 2 batches; continue with" in capsys.readouterr().err
    assert train_py("--resume", tmp_path / "cut") == 0
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.parametrize("during", ["save_training_state", "save"])
def test_an_interrupt_while_an_epoch_is_saved_waits_until_it_is(train_py, data, tmp_path, monkeypatch, capsys, during):
    write = getattr(checkpoint, during)

    def stop_and_write(*arguments) -> None:
        signal.raise_signal(signal.SIGINT)
        write(*arguments)

    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, during, stop_and_write)
        assert train_py(*flags, "--name", "cut") == 130
    assert "stopped after 1 finished epoch; continue with" in capsys.readouterr().err
    assert train_py("--resume", tmp_path / "cut") == 0
    assert [row["epoch"] for row in rows(tmp_path / "cut")] == [1, 2]


def test_ctrl_c_within_torch_save_stays_a_keyboard_interrupt(tmp_path, monkeypatch):
    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detect.models.checkpoint.torch.save", lambda values, file: _unexpected(stop))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save_training_state({}, tmp_path / "x.pt")


def _unexpected(write) -> None:
    """Raise the error of torch, which closes its archive after an interrupt."""
    try:
        write()
    finally:
        raise RuntimeError("unexpected pos 64 vs 0")


def test_the_duration_of_an_epoch_spans_its_interruption(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("detect.training.run.time.monotonic", lambda: now[0])
    (tmp_path / "x").mkdir()
    run = tiny_run(tmp_path / "x")
    run.started_at = now[0]
    now[0] += 30
    run.save_progress(EpochProgress(batches=1, steps=1, sums={"loss": 1.0}))
    now[0] = 5.0  # the clock of another machine
    again = tiny_run(tmp_path / "x")
    again.restore(TrainingRun.load_state(tmp_path / "x"))
    now[0] += 12
    assert again.finish_epoch({"loss": 1.0}, {"bbox": {"AP": 0.5}})["seconds"] == 42
    now[0] += 7
    assert again.finish_epoch({"loss": 1.0}, {"bbox": {"AP": 0.5}})["seconds"] == 7


@pytest.mark.parametrize(
    ("more", "read"),
    [(("--head", "fasterrcnn"), 4), pytest.param(("--ema", 0.9, *FROM_WEIGHTS), 8, marks=pytest.mark.slow)],
)
def test_a_resumed_run_ends_like_an_undisturbed_one(train_py, data, tmp_path, interrupt_at, capsys, more, read):
    flags = ["--data", data, "--epochs", 4, "--output-dir", tmp_path, *TINY, *more]
    assert train_py(*flags, "--name", "whole") == 0
    interrupt_at(2 * read + 3)  # in the third epoch, of 4 images, and as many to paste from
    assert train_py(*flags, "--name", "cut") == 130
    assert capsys.readouterr().err == f"stopped after 2 finished epochs; continue with --resume {tmp_path}/cut\n"
    interrupt_at(1000)
    assert train_py("--resume", tmp_path / "cut") == 0

    whole, cut = (checkpoint.load(tmp_path / name / "last.safetensors").state for name in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert [row["epoch"] for row in rows(tmp_path / "cut")] == [1, 2, 3, 4]


def test_ctrl_c_in_the_first_epoch_leaves_no_folder(train_py, data, tmp_path, interrupt_at, capsys):
    interrupt_at(2)
    assert train_py("--data", data, "--output-dir", tmp_path, *TINY) == 130
    assert "there is nothing to continue from" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_real_script_stops_at_ctrl_c_and_says_how_to_continue(data, tmp_path):
    flags = [
        "--data",
        data,
        "--epochs",
        "1000",
        "--output-dir",
        tmp_path,
        "--name",
        "x",
        "--head",
        "fasterrcnn",
        *TINY,
    ]
    # A process that a shell started in the background ignores Ctrl-C, and so would those that it starts.
    listen = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    command = [sys.executable, "-c", listen + "runpy.run_path('train.py', run_name='__main__')", *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            deadline = time.monotonic() + 1200
            while not (tmp_path / "x" / "best.safetensors").is_file() and process.poll() is None:  # written last
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=600)
        finally:
            process.kill()
    assert process.returncode == 130
    *answer, said = said.strip().split("\n")
    # Between two epochs there is no step to finish, and so no answer.
    assert answer in ([], ["stopping after this step; interrupt again to stop immediately"])
    assert f"continue with --resume {tmp_path}/x" in said


def test_a_run_that_fails_in_its_first_epoch_leaves_no_folder(train_py, data, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr(trainer, "train_one_epoch", fail)
    assert train_py("--data", data, "--output-dir", tmp_path, *TINY) == 2
    assert not list(tmp_path.iterdir())
