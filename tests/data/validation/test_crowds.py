"""Crowds are not objects: a dataset of crowds is named before training, and can be read as single objects."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from helpers.planted_problems import SPLITS, load, save, write_clean

import detect
from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data.description import find_spec
from detect.data.quality.diagnosis import diagnose
from detect.errors import DataError, UsageError
from detect.training.data import read_training_data

RLE = {"size": [60, 80], "counts": [605, *[30, 30] * 39, 30, 1825]}  # 40 columns of 30 rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clean(tmp_path / "set")
    return tmp_path / "set"


def mark(folder: Path, *, spared: int = 0, area: float | None = None, splits=SPLITS) -> None:
    """Make the objects of ``splits`` crowds with a brush mask, but the first ``spared`` of each split."""
    for split in splits:
        content = load(folder, split)
        for entry in content["annotations"][spared:]:
            entry |= {"iscrowd": 1, "segmentation": RLE, "bbox": [10, 5, 40, 30]}
            entry |= {} if area is None else {"area": area}
        save(folder, split, content)


def describe(folder: Path, **more: str) -> Path:
    """Write a description of the dataset and return its path."""
    splits = {s: {"images": s, "annotations": f"annotations/instances_{s}.json"} for s in SPLITS}
    path = folder.parent / "described.yaml"
    path.write_text(json.dumps({"format": "coco", "root": folder.name, "splits": splits, **more}))
    return path


@pytest.mark.parametrize("area", [None, 0])
@pytest.mark.parametrize("splits", [SPLITS, ["train"], ["val"]])
def test_a_split_of_crowds_stops_training_with_cause_and_fix(folder, splits, area):
    mark(folder, area=area, splits=splits)
    with pytest.raises(DataError, match=r"no object but crowds.*CVAT.*iscrowd: ignore.*fix --iscrowd ignore"):
        read_training_data(str(folder))


def test_mostly_crowds_are_one_warning_per_split(folder, capsys):
    mark(folder, spared=1)
    read_training_data(str(folder))
    warnings = [line for line in capsys.readouterr().err.splitlines() if "crowds" in line]
    assert len(warnings) == 2 and "11 of 12 objects" in warnings[0] and "5 of 6 objects" in warnings[1]


def test_a_few_crowds_are_no_problem(folder, capsys):
    mark(folder, spared=9, splits=["train"])
    read_training_data(str(folder))
    assert "crowds" not in capsys.readouterr().err
    found = {kind for kind, _ in diagnose(find_spec(str(folder))).by_kind()}
    assert not found & {"only_crowds", "many_crowds"}


@pytest.mark.parametrize(("spared", "kind"), [(0, "only_crowds"), (1, "many_crowds")])
def test_doctor_names_the_cause(folder, spared, kind):
    mark(folder, spared=spared)
    found = dict(diagnose(find_spec(str(folder))).by_kind())
    assert [split for split, _ in found[kind]] == ["train", "val", "test"] and "split_without_objects" not in found


def test_evaluation_of_crowds_alone_is_refused(folder):
    mark(folder, splits=["test"])
    content = load(folder, "test")
    content["categories"][0]["name"] = "balloon"
    save(folder, "test", content)
    with pytest.raises(DataError, match="no object but crowds"):
        detect.evaluate("balloon", folder, split="test")


def test_the_description_can_make_objects_of_crowds(folder):
    mark(folder)
    data = read_training_data(str(describe(folder, iscrowd="ignore")))
    assert not data.train.iscrowd.any() and len(data.train.labels) == 12
    assert data.train[0].boxes.tolist() == [[10, 5, 50, 35]] * 2 and data.train[0].areas.tolist() == [300, 300]
    with pytest.raises(UsageError, match="ignore"):
        find_spec(str(describe(folder, iscrowd="ignored")))


def test_fix_makes_objects_of_crowds(folder, tmp_path, monkeypatch):
    mark(folder)
    new = tmp_path / "new"
    arguments = ["doctor.py", "fix", str(folder), "--iscrowd", "ignore", "--output-dir", str(new)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert exit_status(doctor.main) == 0
    assert not any(entry["iscrowd"] for split in SPLITS for entry in load(new, split)["annotations"])
    ledger = [json.loads(line) for line in (new / "ledger.jsonl").read_text().splitlines()]
    changed = [line for line in ledger if line["change"] == "object changed" and "many_crowds" in line["reasons"]]
    assert len(changed) == 24 and changed[0]["before"]["iscrowd"] == 1 and changed[0]["after"]["iscrowd"] == 0
