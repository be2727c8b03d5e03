"""Communication between processes, and training in two processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.torchrun import torchrun
from helpers.training import TINY, rows

from detect import distributed
from detect.errors import UsageError
from detect.models import checkpoint


@pytest.mark.slow
def test_two_processes_exchange_values(tmp_path):
    done = torchrun(ROOT / "tests" / "helpers" / "two_processes.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "only the first process prints\n"
    received = "[{'rank': 0}, {'rank': 1}], 'made by 0', True, False, 5.0, {'loss': 1.5}, 'of process 0']"
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() == f"[{received}"


def test_a_single_process_gets_its_own_values():
    with distributed.process_group(torch.device("cpu")) as here:
        assert here == distributed.world() == distributed.World() and here.is_first
        assert distributed.all_max(3, 0) == [3, 0]
        assert distributed.all_gather(3) == [3] and distributed.compute_on_first(lambda: 4) == 4
        assert distributed.any_process(True) and not distributed.any_process(False)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "x"}, "RANK, WORLD_SIZE and LOCAL_RANK in the environment must be whole numbers"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK 2 .* below WORLD_SIZE 2"),
    ],
)
def test_invalid_ranks_in_the_environment_are_a_usage_error(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        distributed.world_from_environment()


@pytest.mark.slow
def test_two_processes_train_like_one_that_accumulates_two_batches(tmp_path):
    data = render_shapes(tmp_path, {"train": 5, "val": 3})
    flags = ["--data", data, "--epochs", 2, "--batch-size", 1, "--output-dir", tmp_path, "--head", "fasterrcnn"]
    flags += [*TINY, "--pretrained", "balloon", "--ema", 0.9]  # its norms are frozen, so batches do not interact
    one = [sys.executable, "train.py", *map(str, [*flags, "--accumulate", 2, "--name", "one"])]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    assert subprocess.run(one, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0
    done = torchrun("train.py", *flags, "--name", "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best bbox_AP on val") == done.stdout.count("evaluate.py") == 1  # one process prints

    for ours, theirs in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        assert ours["val"]["bbox"] == pytest.approx(theirs["val"]["bbox"], abs=1e-6)
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
        assert ours["val_losses"] == pytest.approx(theirs["val_losses"], rel=1e-5)
    ours, theirs = (checkpoint.load(tmp_path / name / "last.safetensors").state for name in ("two", "one"))
    assert all(torch.allclose(ours[k], theirs[k], rtol=1e-4, atol=1e-6) for k in theirs)
    states = [checkpoint.load_training_state(tmp_path / name / "last_state.pt") for name in ("two", "one")]
    assert states[0]["epoch"] == states[1]["epoch"] == 2 and states[0]["best_epoch"] == states[1]["best_epoch"]


def test_a_feature_for_one_process_is_refused_under_torchrun(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert distributed.world().size == 1  # no process group yet
    with pytest.raises(UsageError, match="the overfit test runs in one process only"):
        distributed.require_single_process("the overfit test")


@pytest.mark.slow
def test_a_run_is_resumed_with_the_same_number_of_processes(train_py, tmp_path, capsys):
    data = render_shapes(tmp_path, {"train": 2, "val": 2})
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == 0
    state = checkpoint.load_training_state(tmp_path / "x" / "last_state.pt")
    checkpoint.save_training_state(state | {"num_processes": 2}, tmp_path / "x" / "last_state.pt")
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 2
    error = capsys.readouterr().err
    assert "was trained by 2 processes" in error and "torchrun --nproc_per_node=2" in error
