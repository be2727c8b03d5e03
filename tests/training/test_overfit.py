"""The overfit test: the choice of images, when it passes, and the possible causes that it reports."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_models import render_shapes
from helpers.training import TINY

from detect.data.description import find_spec
from detect.data.table import Table
from detect.errors import DataError
from detect.structures.class_names import ClassNames
from detect.structures.detections import Detections
from detect.training import api, overfit
from detect.training.overfit import OverfitCheck, choose_images, possible_causes


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 12, "val": 2})


@pytest.fixture(scope="module")
def split(data) -> tuple[ClassNames, Table]:
    return find_spec(str(data)).read("train")


def test_every_class_is_among_the_chosen_images(split):
    _, table = split
    for count in (3, 4, 8):
        chosen = choose_images(table, count)
        assert len(chosen) == count and set(chosen.labels.tolist()) == {1, 2, 3}
        assert len(set(chosen.names)) == count and all(len(record) for record in chosen)
    assert list(choose_images(table, 4).names) == list(choose_images(table, 4).names)


def test_all_images_with_objects_are_chosen_if_there_are_fewer(split):
    _, table = split
    assert len(choose_images(table, 100)) == sum(len(record) > 0 for record in table)
    with pytest.raises(DataError, match="needs an image with an object"):
        choose_images(table.take_objects(np.zeros(len(table.boxes), bool)), 8)


# Possible causes


def perfect_detections(table: Table, change=lambda boxes, labels: (boxes, labels)) -> list[Detections]:
    """Return the ground truth as detections with score 1, after ``change`` of its boxes and labels."""
    out = []
    for record in table:
        boxes, labels = change(record.boxes.copy(), record.labels.copy())
        out.append(Detections(record.image_hw, boxes, np.ones(len(boxes), np.float32), labels))
    return out


def causes(split, change, losses=(4.0, 0.5), imgsz=480) -> list[str]:
    names, table = split
    checks = [OverfitCheck(50 * (i + 1), loss, 0.3) for i, loss in enumerate(losses)]
    return possible_causes(checks, table, perfect_detections(table, change), names, imgsz)


def test_a_loss_that_hardly_falls_is_reported_first(split):
    lines = causes(split, lambda boxes, labels: (boxes[:0], labels[:0]), losses=(4.0, 3.0))
    assert "from 4.00 to 3.00" in lines[0] and "`lr`" in lines[0] and len(lines) == 2
    assert f"{len(split[1].boxes)} of {len(split[1].boxes)} objects not detected (train_000.jpg" in lines[1]


def test_objects_too_small_for_the_image_size_are_reported(split):
    (line,) = causes(split, lambda boxes, labels: (boxes[:0], labels[:0]), imgsz=32)
    assert "smaller than 16 pixels at `imgsz=32`" in line


def test_swapped_labels_are_reported_with_both_classes(split):
    (line,) = causes(split, lambda boxes, labels: (boxes, np.where(labels == 1, 2, labels)))
    circles = int((split[1].labels == 1).sum())
    assert f"wrong class for {circles} objects (circle detected as square: {circles})" in line


def test_inaccurate_boxes_are_reported(split):
    (line,) = causes(split, lambda boxes, labels: (boxes + 0.35 * np.tile(boxes[:, 2:] - boxes[:, :2], 2), labels))
    assert line.startswith("inaccurate boxes for ")


def test_false_positives_are_reported(split):
    def more(boxes, labels):
        return np.concatenate([boxes, boxes[:1] * 0 + np.float32([0, 0, 1, 1])]), np.append(labels, 1)

    (line,) = causes(split, more)
    assert "12 false positives" in line


def test_without_errors_the_test_almost_passed(split):
    assert "almost passed" in causes(split, lambda *same: same)[0]


# The program and the function


@pytest.fixture
def four_steps(monkeypatch):
    monkeypatch.setattr(overfit, "MAX_STEPS", 4)
    monkeypatch.setattr(overfit, "STEPS_PER_CHECK", 2)


@pytest.mark.parametrize(("sufficient", "status"), [(-1.0, 0), (0.95, 3)])
def test_the_exit_status_says_whether_it_passed(
    train_py, data, tmp_path, monkeypatch, capsys, four_steps, sufficient, status
):
    monkeypatch.setattr(overfit, "SUFFICIENT_AP50", sufficient)
    flags = ["--data", data, "--overfit", 3, "--output-dir", tmp_path, "--head", "fasterrcnn", "--log", "wandb", *TINY]
    assert train_py(*flags) == status
    printed, warned = capsys.readouterr()
    assert warned.count("--log wandb") == 1
    for start in ("model: .* parameters.* GFLOP", "weights: ", "device: .*; precision: "):  # as of a training
        assert re.search(f"^{start}", printed, re.MULTILINE), start
    steps = [line.split("  ")[0] for line in printed.splitlines() if line.startswith("step ")]
    assert "--repeat-threshold" not in printed  # not used by the test
    assert "on 3 images with " in printed and steps == (["step 2"] if status == 0 else ["step 2", "step 4"])
    assert ("passed: " in printed, "failed: bbox AP50" in printed, "\n- " in printed) == (
        (True, False, False) if status == 0 else (False, True, True)
    )
    assert not list(tmp_path.iterdir())  # nothing is saved


def test_the_function_returns_the_checks_and_the_causes(data, tmp_path, four_steps):
    settings = {"head": "fasterrcnn", "pretrained": "none", "imgsz": 64, "workers": 0, "device": "cpu", "quiet": True}
    result = api.overfit_test(data, 3, output_dir=tmp_path, **settings)
    assert not result.passed and result.causes and [check.steps for check in result.checks] == [2, 4]


@pytest.mark.slow
def test_four_images_can_be_overfitted(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--overfit", 4, "--output-dir", tmp_path, "--pretrained", "balloon", "--quiet"]
    assert train_py(*flags, "--imgsz", 128, "--workers", 0, "--device", "cpu") == 0
    assert "passed: " in capsys.readouterr().out
