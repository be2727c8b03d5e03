"""Thresholds of classes belong to the weights for which they were chosen, so a training never passes them on."""

from __future__ import annotations

import pytest
from helpers import tiny_run
from helpers.tiny_models import as_checkpoint, random_model, render_shapes
from helpers.training import TINY

from detect import load_dataset
from detect.models import checkpoint
from detect.models.checkpoint_file import write_thresholds
from detect.training.run import BEST, LAST

CHOICE = {"dataset": "sky", "split": "val", "rule": "best F1"}


@pytest.mark.parametrize(("second_score", "best_has_thresholds"), [(0.3, False), (0.05, True)])
def test_a_resumed_run_has_thresholds_only_in_the_checkpoint_that_it_did_not_replace(
    tmp_path, monkeypatch, second_score, best_has_thresholds
):
    monkeypatch.setattr(tiny_run, "SCORES", (0.1,))
    tiny_run.train(tiny_run.tiny_run(tmp_path))
    for name in (BEST, LAST):
        write_thresholds(tmp_path / name, {"kite": 0.62}, CHOICE)
    monkeypatch.setattr(tiny_run, "SCORES", (0.1, second_score))
    assert tiny_run.resume(tmp_path) == 1
    assert checkpoint.load(tmp_path / LAST).class_thresholds == checkpoint.load(tmp_path / LAST).threshold_choice == {}
    assert checkpoint.load(tmp_path / BEST).class_thresholds == ({"kite": 0.62} if best_has_thresholds else {})


@pytest.mark.slow
def test_fine_tuning_does_not_inherit_the_thresholds_of_the_initial_weights(train_py, tmp_path):
    data = render_shapes(tmp_path, {"train": 2, "val": 2})
    names, first = load_dataset(str(data)).class_names, tmp_path / "first.safetensors"
    checkpoint.save(as_checkpoint(random_model(num_rows=1 + len(names)), classes=names), first)
    write_thresholds(first, dict.fromkeys(names.names, 0.62), CHOICE)
    flags = ["--data", data, "--epochs", 1, "--output-dir", tmp_path, "--name", "second", *TINY]
    assert train_py(*flags, "--pretrained", first) == 0
    for name in (BEST, LAST):
        saved = checkpoint.load(tmp_path / "second" / name)
        assert saved.class_names == names and saved.training["pretrained"] == str(first)
        assert saved.class_thresholds == saved.threshold_choice == {} and saved.threshold == 0.5
