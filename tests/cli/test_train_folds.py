"""train.py --folds cross-validates, evaluate.py tests the models again, and mistakes are one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.tiny_models import render_shapes
from helpers.training import TINY, one_line

from detect.cli.commands import evaluate
from detect.data.folds import Folds, write_folds


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 4, "val": 2})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--folds", 1], "--folds 1 must be at least 2"),
        (["--folds", 3, "--overfit", 8], "--folds excludes --overfit"),
        (["--folds", 3, "--debug-step", "x.pt"], "--folds excludes --debug-step"),
        (["--folds", 3, "--patience", 5], "--folds excludes --patience: all folds are trained for the same number"),
        (["--final-model"], "--final-model is trained after the folds of a cross-validation: add --folds 5"),
        (["--folds", 9], "--folds 9: dataset 'few' has 6 images with objects in 6 groups"),
        (["--folds", 3, "--resume", "."], "with the settings of the run; --folds cannot be changed"),
        (["--final-model", "--resume", "."], "with the settings of the run; --final-model cannot be changed"),
        (["--final-model", "--resume", "x"], "--resume x does not exist"),
    ],
)
def test_flags_that_do_not_go_together_are_one_clear_line(train_py, data, tmp_path, capsys, flags, message):
    given = [] if "--resume" in flags else ["--data", data, "--output-dir", tmp_path, *TINY]
    assert train_py(*given, *flags) == 2
    assert message in one_line(capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_fold_is_not_resumed_alone(train_py, tmp_path, capsys):
    (tmp_path / "folds.yaml").touch()
    (tmp_path / "fold_1").mkdir()
    assert train_py("--resume", tmp_path / "fold_1") == 2
    assert f"is a part of a cross-validation; continue all of it with --resume {tmp_path}" in one_line(
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--split", "val"], "--split is not for a cross-validation"),
        (["--data", "sample"], "--data is not for a cross-validation, whose models are tested on the images of their"),
        (["--compare", "balloon"], "final/best.safetensors"),
        (["--write-thresholds"], "final/best.safetensors"),
        ([], "fold_1/last.safetensors; 0 of 2 folds are trained, and a training with `resume="),
    ],
)
def test_mistakes_with_the_folder_of_a_cross_validation(run_script, data, tmp_path, capsys, flags, message):
    (tmp_path / "x").mkdir()
    write_folds(tmp_path / "x" / "folds.yaml", Folds(str(data), None, "auto", (("a",), ("b",))))
    assert run_script(evaluate, "--model", tmp_path / "x", *flags) == 2
    assert message in one_line(capsys.readouterr().err)
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.slow
def test_train_py_cross_validates_and_adds_a_final_model_later(train_py, run_script, data, tmp_path, capsys):
    flags = ["--data", data, "--folds", 2, "--epochs", 1, "--head", "fasterrcnn", "--output-dir", tmp_path, *TINY]
    assert train_py(*flags, "--name", "x") == 0
    printed = capsys.readouterr().out
    assert "2 folds of 6 images in 6 groups" in printed and "all 6 images, each tested by the model" in printed
    assert f"next: python train.py --resume {tmp_path / 'x'} --final-model" in printed
    first = json.loads((tmp_path / "x" / "cross_validation.json").read_text())
    assert train_py("--resume", tmp_path / "x", "--final-model") == 0
    printed = capsys.readouterr().out
    assert "fold_1 has finished 1 epoch" in printed and "final model: 6 images for training" in printed
    assert (tmp_path / "x" / "final" / "best.safetensors").is_file()
    assert "next:" not in printed  # there is no test split
    again = json.loads((tmp_path / "x" / "cross_validation.json").read_text())
    assert {key: again[key] for key in again if key != "speed"} == {key: first[key] for key in first if key != "speed"}

    assert run_script(evaluate, "--model", tmp_path / "x", "--device", "cpu", "--quiet") == 0
    assert "fold 2" in capsys.readouterr().out
    tested = json.loads((tmp_path / "out" / "x_out-of-fold" / "metrics.json").read_text())
    assert all(tested[key] == first[key] for key in ("bbox", "classes", "intervals", "fold_mean"))
