"""A training ends with a report of its best epoch, unless the report is turned off."""

from __future__ import annotations

from itertools import chain, repeat
from pathlib import Path

import pytest
from helpers.tiny_models import render_shapes
from helpers.training import TINY

from detect.evaluation import coco_metrics
from detect.training.run import REPORT


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 3})


def test_a_training_ends_with_a_report_of_its_best_epoch_on_val(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--report") == 0
    page = (tmp_path / "x" / REPORT).read_text()
    assert "<h1>x/best.safetensors on few val</h1>" in page
    assert "None of the 3 evaluated images is a copy of one of the 4 training images." in page
    assert "Loss and AP on val per epoch." in page
    assert f"report: {tmp_path / 'x' / REPORT}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_report_of_fewer_epochs_is_replaced_although_the_best_epoch_stays(train_py, data, tmp_path, monkeypatch):
    values = chain([0.5], repeat(0.1))
    monkeypatch.setattr(coco_metrics, "score", lambda *_, **__: {"bbox": {"AP": next(values), "AP50": 0.5}})
    folder = tmp_path / "x"
    flags = ["--data", data, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags, "--epochs", 1, "--report") == 0
    assert (
        "beside the checkpoint has 1 epoch; the evaluated weights are those of epoch 1"
        in (folder / REPORT).read_text()
    )
    assert train_py("--resume", folder, "--epochs", 2, "--report") == 0
    assert (
        "beside the checkpoint has 2 epochs; the evaluated weights are those of epoch 1"
        in (folder / REPORT).read_text()
    )
    assert train_py("--resume", folder, "--epochs", 3, "--no-report") == 0
    assert not (folder / REPORT).exists(), "it would lack the last epoch"


@pytest.mark.slow
def test_a_training_can_do_without_a_report(train_py, data, tmp_path):
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "x", "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == 0
    assert not (tmp_path / "x" / REPORT).exists()
    assert train_py("--resume", tmp_path / "x", "--report") == 0
    assert (tmp_path / "x" / REPORT).exists()
