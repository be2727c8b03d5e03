"""The files that show a run at a glance are there at its end, whatever happened before, and never end a training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import render_shapes
from helpers.training import TINY
from PIL import Image

from detect.evaluation import coco_metrics, predict
from detect.io import files
from detect.models import checkpoint
from detect.training import overview
from detect.training.run import BEST_EPOCH_FILES, LABELS, LOG, MODEL_SUMMARY, RESULTS

FASTER = ["--head", "fasterrcnn", *TINY]
IMAGES = (LABELS, *BEST_EPOCH_FILES)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 3})


@pytest.fixture
def scores(monkeypatch):
    """Set the AP on val of each epoch."""

    def ask(*values: float) -> None:
        left = iter(values)
        monkeypatch.setattr(coco_metrics, "score", lambda *_, **__: {"bbox": {"AP": next(left), "AP50": 0.5}})

    return ask


def epochs_of(folder: Path) -> list[int]:
    with (folder / RESULTS).open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_a_run_has_an_image_of_everything_and_the_parameters_of_its_model(train_py, data, tmp_path):
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *TINY) == 0
    for name in IMAGES:
        assert pixels(tmp_path / "x" / name).std() > 5, name
    text = (tmp_path / "x" / MODEL_SUMMARY).read_text()
    assert text.startswith("mobilenet_v2 (maskrcnn); classes: circle, square, triangle\n")
    (total,) = [line for line in text.splitlines() if line.startswith("all ")]
    state = checkpoint.load(tmp_path / "x" / "best.safetensors").state
    norms = {name.removesuffix("running_mean") for name in state if name.endswith("running_mean")}
    expected = sum(
        value.numel()
        for name, value in state.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert norms and int(total.split()[2].replace(",", "")) == expected


def test_results_have_the_numbers_of_the_log(train_py, data, tmp_path):
    assert train_py("--data", data, "--epochs", 2, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    logged = [json.loads(line) for line in (tmp_path / "x" / LOG).read_text().splitlines()]
    with (tmp_path / "x" / RESULTS).open() as file:
        table = list(csv.DictReader(file))
    for row, line in zip(logged, table, strict=True):
        assert [int(line["epoch"]), float(line["lr"])] == [row["epoch"], row["lr"]]
        assert (
            float(line["train_loss"]) == row["losses"]["loss"] and float(line["val_loss"]) == row["val_losses"]["loss"]
        )
        assert float(line["bbox_AP"]) == row["val"]["bbox"]["AP"]


@pytest.mark.slow
def test_after_a_resume_no_epoch_is_missing_or_twice(train_py, data, tmp_path):
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags, "--epochs", 1) == 0
    (tmp_path / "x" / RESULTS).write_text("epoch\n1\n2\n3\n")  # of epochs whose state was not saved
    assert train_py("--resume", tmp_path / "x") == 0
    assert epochs_of(tmp_path / "x") == [1]
    assert train_py("--resume", tmp_path / "x", "--epochs", 3) == 0
    assert epochs_of(tmp_path / "x") == [1, 2, 3]


@pytest.fixture
def drawn_epochs(monkeypatch) -> list[str]:
    """First words of the mosaics that are drawn."""
    drawn: list[str] = []
    mosaic = overview.validation_mosaic
    monkeypatch.setattr(overview, "validation_mosaic", lambda *given: (drawn.append(given[4]), mosaic(*given))[1])
    return drawn


@pytest.mark.slow
def test_a_resumed_run_without_a_new_best_epoch_keeps_the_files_of_the_former(
    train_py, data, tmp_path, scores, drawn_epochs
):
    scores(0.5, 0.1)
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags, "--epochs", 1) == 0
    before = {name: (tmp_path / "x" / name).read_bytes() for name in BEST_EPOCH_FILES}
    assert train_py("--resume", tmp_path / "x", "--epochs", 2) == 0
    assert {name: (tmp_path / "x" / name).read_bytes() for name in BEST_EPOCH_FILES} == before
    assert drawn_epochs == ["best epoch (1) on val; "]


@pytest.mark.slow
def test_a_killed_run_that_finds_no_new_best_epoch_shows_the_one_before(
    train_py, data, tmp_path, scores, drawn_epochs, monkeypatch
):
    """Epoch 2 is the best. The process that trained it dies in epoch 3, so its detections are lost."""
    scores(0.1, 0.5, 0.2)
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags, "--epochs", 1) == 0
    assert drawn_epochs == ["best epoch (1) on val; "]
    validate, left = predict.detect_for_dataset, iter(range(1))

    def killed(*given, **more):
        if next(left, None) is None:
            raise RuntimeError("killed")  # not caught anywhere
        return validate(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(predict, "detect_for_dataset", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train_py("--resume", tmp_path / "x", "--epochs", 3)
    assert not any((tmp_path / "x" / name).exists() for name in BEST_EPOCH_FILES)  # those of epoch 1 are outdated
    assert train_py("--resume", tmp_path / "x") == 0
    assert drawn_epochs[1:] == ["best epoch (2) on val; "]
    assert all((tmp_path / "x" / name).exists() for name in BEST_EPOCH_FILES)


def test_a_finished_run_of_an_earlier_version_gets_the_files(train_py, data, tmp_path):
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    expected = {name: pixels(tmp_path / "x" / name) for name in BEST_EPOCH_FILES}
    for name in (*BEST_EPOCH_FILES, RESULTS):
        (tmp_path / "x" / name).unlink()
    assert train_py("--resume", tmp_path / "x") == 0
    assert epochs_of(tmp_path / "x") == [1]
    for name, image in expected.items():  # drawn from the best checkpoint
        assert np.array_equal(pixels(tmp_path / "x" / name), image), name


@pytest.mark.slow
def test_a_run_that_stops_early_has_the_files(train_py, data, tmp_path, scores, drawn_epochs):
    scores(0.5, 0.1, 0.1)
    flags = ["--data", data, "--epochs", 3, "--patience", 1, "--output-dir", tmp_path, "--name", "x", *FASTER]
    assert train_py(*flags) == 0
    assert epochs_of(tmp_path / "x") == [1, 2] and drawn_epochs == ["best epoch (1) on val; "]


def test_a_file_that_cannot_be_written_is_a_warning(train_py, data, tmp_path, monkeypatch, capsys):
    optional = (RESULTS, MODEL_SUMMARY, *IMAGES)
    write = files.atomic_replacement

    def full(path: Path):
        if path.name in optional:
            raise OSError(28, "No space left on device")
        return write(path)

    monkeypatch.setattr(files, "atomic_replacement", full)
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    said = capsys.readouterr().err
    for name in optional:
        assert f"warning: cannot write {tmp_path / 'x' / name}: No space left on device" in said
    assert (tmp_path / "x" / "best.safetensors").exists() and (tmp_path / "x" / "curves.png").exists()


def test_an_error_while_drawing_does_not_end_a_training(train_py, data, tmp_path, monkeypatch, capsys):
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a surprise")

    for name in ("summarize_model", "label_overview", "validation_mosaic", "evaluation_table"):
        monkeypatch.setattr(overview, name, broken)
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    said = capsys.readouterr().err
    assert said.count("ValueError: a surprise; training does not need it") == 4


@pytest.mark.slow
def test_a_finished_run_without_its_checkpoints_cannot_be_resumed(train_py, data, tmp_path, capsys):
    assert train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER) == 0
    for name in (*BEST_EPOCH_FILES, "best.safetensors", "last.safetensors"):
        (tmp_path / "x" / name).unlink()
    assert train_py("--resume", tmp_path / "x") == 2
    assert f"{tmp_path / 'x' / 'last.safetensors'}; a finished run keeps its weights" in capsys.readouterr().err


def test_the_folder_of_a_run_without_an_epoch_is_deleted(train_py, data, tmp_path, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("detect.training.trainer.train_one_epoch", broken)
    with pytest.raises(RuntimeError, match="broken"):
        train_py("--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", *FASTER)
    assert not (tmp_path / "x").exists()
