"""A few images by heart: which ones, when it is enough, and what is said where it fails."""

from __future__ import annotations

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
from detect.training import overfit
from detect.training.overfit import Look, choose, what_is_wrong


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return render_shapes(tmp_path_factory.mktemp("data"), {"train": 12, "val": 2})


@pytest.fixture(scope="module")
def split(data) -> tuple[ClassNames, Table]:
    return find_spec(str(data), None, "auto").read("train")


def test_every_class_is_among_the_chosen(split):
    _, table = split
    for count in (3, 4, 8):
        chosen = choose(table, count)
        assert len(chosen) == count and set(chosen.labels.tolist()) == {1, 2, 3}
        assert len(set(chosen.names)) == count and all(len(record) for record in chosen)
    assert list(choose(table, 4).names) == list(choose(table, 4).names)


def test_where_there_are_fewer_images_all_are_taken(split):
    _, table = split
    assert len(choose(table, 100)) == sum(len(record) > 0 for record in table)
    with pytest.raises(DataError, match="no image with an object"):
        choose(table.take_objects(np.zeros(len(table.boxes), bool)), 8)


# What is wrong


def found(table: Table, change=lambda boxes, labels: (boxes, labels)) -> list[Detections]:
    """The ground truth, found with certainty, after ``change`` of its boxes and labels."""
    out = []
    for record in table:
        boxes, labels = change(record.boxes.copy(), record.labels.copy())
        out.append(Detections(record.image_hw, boxes, np.ones(len(boxes), np.float32), labels))
    return out


def told(split, change, losses=(4.0, 0.5), imgsz=480) -> list[str]:
    names, table = split
    looks = [Look(50 * (i + 1), loss, 0.3) for i, loss in enumerate(losses)]
    return what_is_wrong(looks, table, found(table, change), names, imgsz)


def test_losses_that_hardly_fall_are_told_first(split):
    lines = told(split, lambda boxes, labels: (boxes[:0], labels[:0]), losses=(4.0, 3.0))
    assert lines[0].startswith("the losses hardly fell, from 4.00 to 3.00") and len(lines) == 2
    assert f"{len(split[1].boxes)} of {len(split[1].boxes)} objects are not seen at all (train_000.jpg" in lines[1]


def test_objects_too_small_for_the_size_are_told(split):
    (line,) = told(split, lambda boxes, labels: (boxes[:0], labels[:0]), imgsz=32)
    assert "are under 16 pixels across at --imgsz 32: try a larger one" in line


def test_labels_that_are_swapped_are_told(split):
    (line,) = told(split, lambda boxes, labels: (boxes, np.where(labels == 1, 2, labels)))
    circles = int((split[1].labels == 1).sum())
    assert f"{circles} objects get the label of another class (circle taken for square, {circles})" in line


def test_boxes_that_do_not_fit_are_told(split):
    (line,) = told(split, lambda boxes, labels: (boxes + 0.35 * np.tile(boxes[:, 2:] - boxes[:, :2], 2), labels))
    assert "objects are seen, but their boxes are another's than the annotated ones" in line


def test_things_that_nobody_annotated_are_told(split):
    def more(boxes, labels):
        return np.concatenate([boxes, boxes[:1] * 0 + np.float32([0, 0, 1, 1])]), np.append(labels, 1)

    (line,) = told(split, more)
    assert "12 things are found where nothing is annotated" in line


def test_where_all_is_found_it_only_takes_time(split):
    assert "it is nearly there" in told(split, lambda *same: same)[0]


# The command


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(overfit, "MOST_STEPS", 4)
    monkeypatch.setattr(overfit, "EVERY", 2)


@pytest.mark.parametrize(("enough", "status"), [(-1.0, 0), (0.95, 3)])
def test_the_command_says_how_it_went(train_py, data, tmp_path, monkeypatch, capsys, short, enough, status):
    monkeypatch.setattr(overfit, "ENOUGH", enough)
    flags = ["--data", data, "--overfit", 3, "--output-dir", tmp_path, "--head", "fasterrcnn", *TINY]
    assert train_py(*flags) == status
    said = capsys.readouterr().out
    steps = [line.split("  ")[0] for line in said.splitlines() if line.startswith("step ")]
    assert "--rare" not in said  # of which it makes no use
    assert "3 of them, with" in said and steps == (["step 2"] if status == 0 else ["step 2", "step 4"])
    assert ("learned: images" in said, "not learned: bbox AP50" in said, "\n- " in said) == (
        (True, False, False) if status == 0 else (False, True, True)
    )
    assert not list(tmp_path.iterdir())  # it is a test, and leaves nothing


@pytest.mark.slow
def test_eight_images_are_learned(train_py, data, tmp_path, capsys):
    flags = ["--data", data, "--overfit", 8, "--output-dir", tmp_path, "--pretrained", "balloon", "--quiet"]
    assert train_py(*flags, "--imgsz", 160, "--workers", 0, "--device", "cpu") == 0
    assert "learned" in capsys.readouterr().out
