"""Faster settings are measured on val: the smallest number of proposals that keeps the AP is stored."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.tiny_models import as_checkpoint, random_model, render_shapes

import detect
from detect.cli.commands import evaluate as command
from detect.cli.exit_status import exit_status
from detect.evaluation import speed_tuning
from detect.models import checkpoint
from detect.models.fast_settings import Cost, FastSettings, write_fast_settings
from detect.structures.class_names import ClassNames


@pytest.fixture
def folder(tmp_path) -> Path:
    render_shapes(tmp_path, {"test": 2, "val": 2})
    classes = ClassNames(("circle", "square", "triangle"), (90, 7, 3))
    checkpoint.save(as_checkpoint(random_model(), classes=classes), tmp_path / "m.safetensors")
    return tmp_path


@pytest.fixture
def losses(monkeypatch):
    """``losses({number: loss})`` replaces the measured losses of AP of numbers of proposals; 0 for others."""

    def plan(by_proposals: dict[int, float]) -> None:
        def ap_loss(before, after) -> float:
            return by_proposals.get(after.predictor.proposals, 0.0)

        monkeypatch.setattr(speed_tuning, "ap_loss", ap_loss)

    return plan


def test_the_smallest_number_before_the_first_that_loses_more_than_0_1_is_chosen(folder, losses):
    losses({50: 0.1, 30: 0.11, 20: 0.0})
    result = detect.tune_speed(folder / "m.safetensors", folder / "few.yaml", device="cpu")
    assert result.settings.proposals == 50 and result.settings.proposals_cost.ap_loss == 0.1
    assert result.settings.proposals_cost.data == "few val, 2 images"
    assert [name for name in result.measured if "fast" not in name][:2] == ["50 proposals", "30 proposals"]
    assert "50 proposals" in result.table()


def test_no_number_is_chosen_if_the_first_one_loses_too_much(folder, losses):
    losses({50: 2.0})
    result = detect.tune_speed(folder / "m.safetensors", folder / "few.yaml", device="cpu")
    assert result.settings.proposals is None and "all proposals" in result.in_words()


def test_the_loss_is_the_larger_one_of_boxes_and_masks(folder):
    result = detect.evaluate(folder / "m.safetensors", folder / "few.yaml", split="val", device="cpu")
    before, after = (
        replace(result, scores=result.scores | {"bbox": {"AP": boxes}, "segm": {"AP": masks}})
        for boxes, masks in ((0.5, 0.4), (0.49, 0.38))
    )
    assert speed_tuning.ap_loss(before, after) == pytest.approx(2.0)
    assert speed_tuning.ap_loss(after, before) == pytest.approx(-1.0)


@pytest.mark.slow
def test_evaluate_stores_the_settings_that_fast_uses_and_keeps_the_cost_of_an_export(
    folder, losses, monkeypatch, capsys
):
    path = folder / "m.safetensors"
    int8 = Cost(0.2, 0.6, "cpu", "few val, 2 images")
    write_fast_settings(path, FastSettings(precisions={"int8": int8}, int8_model="int8"))
    losses({20: 1.0})
    line = ["evaluate.py", "--model", path, "--data", folder / "few.yaml", "--device", "cpu", "--tune-speed"]
    monkeypatch.setattr(sys, "argv", [str(word) for word in line])
    assert exit_status(command.main) == 0
    assert "30 proposals per image" in capsys.readouterr().out
    assert detect.load_model(path, device="cpu", fast=True).proposals == 30
    stored = FastSettings.of(checkpoint.load(path))
    assert stored.precisions["int8"] == int8 and stored.int8_model == "int8"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "balloon"], "faster settings are stored in a checkpoint"),
        (["--split", "test"], "--split is not for --tune-speed"),
        (["--compare", "balloon"], "--compare is not for --tune-speed"),
    ],
)
def test_settings_that_do_not_fit_are_refused(folder, monkeypatch, capsys, flags, message):
    line = ["evaluate.py", "--model", folder / "m.safetensors", "--data", folder / "few.yaml", "--tune-speed", *flags]
    monkeypatch.setattr(sys, "argv", [str(word) for word in line])
    assert exit_status(command.main) == 2
    assert message in capsys.readouterr().err
