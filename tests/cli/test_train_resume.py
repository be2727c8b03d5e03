"""train.py resumes a run: with the same settings, data and files, or says why it cannot."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from helpers.folders import ROOT
from helpers.tiny_models import render_shapes
from helpers.training import TINY, one_line, rows
from helpers.web_server import Server

from detect.models import checkpoint
from detect.training.run import TrainingRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


def test_a_run_that_another_process_continued_meanwhile_is_read_again(train_py, data, tmp_path, monkeypatch):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == 0
    shutil.copytree(tmp_path / "x", tmp_path / "theirs")
    assert train_py("--resume", tmp_path / "theirs", "--epochs", 2) == 0
    lock = TrainingRun.lock

    def wait_for_them(run: TrainingRun) -> None:  # until the other process ends
        shutil.copytree(tmp_path / "theirs", tmp_path / "x", dirs_exist_ok=True)
        lock(run)

    monkeypatch.setattr(TrainingRun, "lock", wait_for_them)
    assert train_py("--resume", tmp_path / "x", "--epochs", 3) == 0
    assert [row["epoch"] for row in rows(tmp_path / "x")] == [1, 2, 3]
    assert rows(tmp_path / "x")[:2] == rows(tmp_path / "theirs")
    assert (
        "resume" not in checkpoint.load(tmp_path / "x" / "last.safetensors").training
    )  # the checkpoint may be published


def test_changed_training_images_are_a_warning(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--epochs", 1) == 0
    state = checkpoint.load_training_state(tmp_path / "x" / "last_state.pt")
    checkpoint.save_training_state({**state, "train_digest": "other"}, tmp_path / "x" / "last_state.pt")
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert "the training images have changed since its first epochs" in capsys.readouterr().err
    checkpoint.save_training_state({"epoch": 1}, tmp_path / "x" / "last_state.pt")
    assert train_py("--resume", tmp_path / "x") == 2
    assert "is not the state of a training run: it lacks" in capsys.readouterr().err


def test_rows_after_the_last_saved_epoch_are_written_again(train_py, data, tmp_path):
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--epochs", 1) == 0
    with (tmp_path / "x" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lr": 1}\n{"epo')
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert [row["epoch"] for row in rows(tmp_path / "x")] == [1, 2]


def test_resume_uses_the_settings_of_the_run(train_py, tmp_path, capsys):
    assert train_py("--resume", tmp_path, "--imgsz", 320, "--epochs", 3) == 2
    assert "--resume continues with the settings of the run; --imgsz cannot be changed" in one_line(
        capsys.readouterr().err
    )
    (tmp_path / "settings.yaml").write_text("epochz: 3\n")
    assert train_py("--resume", tmp_path) == 2
    assert "unknown key 'epochz': did you mean epochs" in one_line(capsys.readouterr().err)
    (tmp_path / "settings.yaml").write_text("data: nowhere\n")
    assert train_py("--resume", tmp_path, "--device", "cpu") == 2  # before any work on the data
    assert "unknown dataset 'nowhere'" in one_line(capsys.readouterr().err)


def test_a_run_saves_no_token_of_the_url_of_its_weights(train_py, data, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--name", "first") == 0
    server = Server()
    server.body = (tmp_path / "first" / "last.safetensors").read_bytes()
    url = server.url("x.safetensors")
    digest = f"#sha256={hashlib.sha256(server.body).hexdigest()}"
    with server.running():
        assert train_py(*flags, "--pretrained", f"{url}?token=secret{digest}", "--name", "x") == 0
    assert server.paths == ["/files/x.safetensors?token=secret"]
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert yaml.safe_load((tmp_path / "x" / "settings.yaml").read_text())["pretrained"] == f"{url}?...{digest}"
    training = checkpoint.load(tmp_path / "x" / "last.safetensors").training
    assert training["pretrained"] == f"{url}?...{digest}" and training["epoch"] == 2
    files = [path for path in (tmp_path / "x").rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"secret" in path.read_bytes()]


def test_resume_refuses_a_dataset_with_other_classes(train_py, data, tmp_path, capsys):
    flags = ["--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py("--data", data, *flags) == 0
    settings = yaml.safe_load((tmp_path / "x" / "settings.yaml").read_text())
    spec = yaml.safe_load(data.read_text()) | {"classes": ["square", "circle"], "root": str(data.parent / "files")}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(spec))
    settings["data"] = str(tmp_path / "other.yaml")
    (tmp_path / "x" / "settings.yaml").write_text(yaml.safe_dump(settings))
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 2
    assert "was trained on the classes ['circle', 'square', 'triangle']" in one_line(capsys.readouterr().err)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    """A run with two finished epochs."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, ROOT / "train.py", "--data", data, "--epochs", 2, "--output-dir", folder, "--name", "x"]
    subprocess.run([*map(str, command), "--head", "fasterrcnn", "--no-amp", *TINY], check=True, capture_output=True)
    return folder / "x"


@pytest.fixture
def finished_copy(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "x")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.001", "lr: 0.002", "lr is 0.002, and was 0.001"),
        ("imgsz: 64\n", "", "imgsz is None, and was 64"),  # as of a file that broke off
        ("amp: false", "amp: true", "amp is True, and was False"),
    ],
)
def test_changed_settings_are_named_before_training(train_py, finished_copy, capsys, old, new, said):
    path = finished_copy / "settings.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert train_py("--resume", finished_copy, "--epochs", 3) == 2
    assert f"settings.yaml was changed after training started: {said}; restore the former values" in one_line(
        capsys.readouterr().err
    )
    assert len(rows(finished_copy)) == 2


def test_more_epochs_change_the_learning_rate_which_is_reported(train_py, finished_copy, capsys):
    path = finished_copy / "settings.yaml"
    assert "# a tenth of 4 steps\n" in path.read_text()
    assert train_py("--resume", finished_copy, "--epochs", 9) == 0
    said = capsys.readouterr().out
    assert "--epochs 9: the schedule spans all epochs, so the learning rate changes from 1e-05 to 0.00088" in said
    assert "steps\n" not in path.read_text()
    assert train_py("--resume", finished_copy) == 0
    assert "the learning rate changes" not in capsys.readouterr().out


def test_an_unreadable_state_names_the_weights_to_start_from(train_py, finished_copy, capsys):
    state = finished_copy / "last_state.pt"
    for spoil in (lambda: state.write_bytes(state.read_bytes()[:999]), state.unlink):
        spoil()
        assert train_py("--resume", finished_copy, "--epochs", 3) == 2
        way = f"start a new run from its weights with --pretrained {finished_copy / 'last.safetensors'}"
        assert way in one_line(capsys.readouterr().err)


def test_a_resume_state_is_refused_as_pretrained_weights(train_py, finished_copy, data, capsys):
    assert train_py("--data", data, *TINY, "--pretrained", finished_copy / "last_state.pt") == 2
    assert "use last.safetensors beside it" in one_line(capsys.readouterr().err)


def test_epochs_missing_in_the_log_are_a_warning(train_py, finished_copy, capsys):
    log = finished_copy / "metrics.jsonl"
    log.write_text(log.read_text().split("\n", 1)[1])
    assert train_py("--resume", finished_copy, "--epochs", 3) == 0
    assert "metrics.jsonl lacks the epochs 1" in capsys.readouterr().err


def test_a_run_of_several_processes_says_how_to_resume_it(train_py, finished_copy, capsys):
    state = checkpoint.load_training_state(finished_copy / "last_state.pt")
    checkpoint.save_training_state(state | {"num_processes": 2}, finished_copy / "last_state.pt")
    assert train_py("--resume", finished_copy, "--epochs", 3) == 2
    reason = f"{finished_copy} was trained by 2 processes, not 1, and its batches depend on this number"
    assert f"{reason}; resume it with torchrun" in one_line(capsys.readouterr().err)


def test_resuming_a_finished_run_reports_it(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x"]
    assert train_py(*flags, *TINY) == 0
    capsys.readouterr()
    assert train_py("--resume", tmp_path / "x") == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'x'} has finished 1 epoch; a larger number of --epochs continues" in said
    assert len(rows(tmp_path / "x")) == 1


def test_fewer_epochs_than_finished_change_nothing(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 2, "--output-dir", tmp_path, "--name", "x"]
    assert train_py(*flags, *TINY) == 0
    before = (tmp_path / "x" / "settings.yaml").read_text()
    capsys.readouterr()
    assert train_py("--resume", tmp_path / "x", "--epochs", 1) == 0
    assert "has finished 2 epochs" in capsys.readouterr().out
    assert (tmp_path / "x" / "settings.yaml").read_text() == before


def test_a_run_is_trained_by_one_process_at_a_time(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x"]
    assert train_py(*flags, *TINY) == 0
    assert not (tmp_path / "x" / "lock").exists()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "x").iterdir())
    with FileLock(tmp_path / "x" / "lock"):
        assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 2
        assert (tmp_path / "x" / "lock").exists()  # of the other process
    assert f"{tmp_path / 'x'} is being trained by another process" in one_line(capsys.readouterr().err)
    after = [(path.name, path.stat().st_mtime_ns) for path in (tmp_path / "x").iterdir() if path.name != "lock"]
    assert sorted(after) == before
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0


def test_a_path_that_is_not_a_run_is_refused(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x"]
    assert train_py(*flags, *TINY) == 0
    capsys.readouterr()
    for resume, words in {
        tmp_path / "x" / "best.safetensors": f"use its folder: --resume {tmp_path / 'x'}",
        tmp_path: "is not the folder of a run, such as outputs/train/NAME",
        tmp_path / "nowhere": "does not exist; it is the folder of a run",
    }.items():
        assert train_py("--resume", resume) == 2
        assert words in one_line(capsys.readouterr().err)
