"""doctor.py convert and preview: converted datasets are read back equal, and the sheet shows the images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import put
from helpers.folders import SHARED
from helpers.planted_problems import SPLITS, load, save, write_clean

from detect.cli.commands import doctor
from detect.cli.exit_status import exit_status
from detect.data.description import find_spec
from detect.data.exporters import EXPORTERS
from detect.media.images import read_image
from detect.structures import masks

DATA = SHARED / "data"


@pytest.fixture
def folder(tmp_path) -> Path:
    write_clean(tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def run(monkeypatch):
    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, arguments)])
        return exit_status(doctor.main)

    return call


def by_name(spec, split: str) -> dict[str, tuple[list, list, np.ndarray]]:
    """Return by image name the class names, boxes and masks of its objects."""
    names, table = spec.read(split)
    found = {}
    for record in table:
        rles = [masks.from_coco(mask, record.image_hw) for mask in record.masks or []]
        found[record.path.name] = ([names.name(label) for label in record.labels], record.boxes.tolist(), rles)
    return found


@pytest.mark.parametrize("to", EXPORTERS)
def test_converted_dataset_is_read_back_with_its_splits(folder, run, to, tmp_path, capsys):
    assert run("convert", folder, "--to", to, "--output-dir", tmp_path / "new") == 0
    out = capsys.readouterr().out
    assert ("cannot represent masks: 24\n" in out) == (to == "voc") and "12 images ->" in out
    before, after = find_spec(str(folder)), find_spec(str(tmp_path / "new"))
    assert after.format == to and list(after.splits) == list(SPLITS)
    for split in SPLITS:
        old, new = by_name(before, split), by_name(after, split)
        assert old.keys() == new.keys()
        for name, (classes, boxes, rles) in old.items():
            assert new[name][0] == classes
            assert np.abs(np.array(new[name][1]) - boxes).max() <= 0.5
            if to != "voc":
                assert all(masks.iou([a], [b]).min() >= 0.99 for a, b in zip(rles, new[name][2], strict=True))


def test_invalid_objects_are_skipped_with_a_warning(folder, run, tmp_path, capsys):
    content = load(folder)
    content["annotations"][0]["category_id"] = 17
    save(folder, "train", content)
    assert run("convert", folder, "--to", "yolo", "--output-dir", tmp_path / "new") == 0
    assert "objects of unlisted classes: 1 skipped" in capsys.readouterr().err
    assert len(find_spec(str(tmp_path / "new")).read("train")[1].labels) == 11


@pytest.mark.parametrize("line", ["check", "preview", "fix --output-dir new", "convert --to voc --output-dir new"])
def test_original_dataset_stays_unchanged(run, tmp_path, monkeypatch, line):
    """Also when its splits are chosen at random, which train.py would save there."""
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "set", "coco", "", "a.json", [f"{i}.png" for i in range(8)])
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*")}
    command, *arguments = line.split()
    assert run(command, tmp_path / "set", *arguments) == 0
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--output-dir", "new"], "--to is missing"),
        (["--to", "voc"], "--output-dir is missing"),
        (["--to", "pdf", "--output-dir", "new"], "unknown value of --to 'pdf'"),
    ],
)
def test_missing_or_unknown_setting_is_named(folder, run, arguments, words, capsys):
    assert run("convert", folder, *arguments) == 2
    assert words in capsys.readouterr().err


def test_sheet_shows_each_image_twice(folder, run, tmp_path, capsys):
    assert run("preview", folder, "--images", 4, "--output-dir", tmp_path / "out") == 0
    path = tmp_path / "out" / "set" / "train.png"
    assert f"4 of 6 images of train\n-> {path}" in capsys.readouterr().out
    sheet = read_image(path).astype(int)
    height, width = sheet.shape[:2]
    cells = [sheet[y * height // 2 : (y + 1) * height // 2, x * width // 4 : (x + 1) * width // 4]
             for y in range(2) for x in range(4)]  # fmt: skip
    for cell in cells:
        colored = np.abs(cell - cell.mean(axis=2, keepdims=True)).max(axis=2) > 30
        assert colored.mean() > 0.3  # an image of colored squares, on white


def test_seed_selects_the_images(folder, run, tmp_path):
    for seed in (0, 1, 0):
        assert run("preview", folder, "--images", 2, "--seed", seed, "--output-dir", tmp_path / "out") == 0
    first, other, again = ((tmp_path / "out" / name / "train.png").read_bytes() for name in ("set", "set_2", "set_3"))
    assert first == again != other


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real datasets are missing")
@pytest.mark.parametrize("to", EXPORTERS)
def test_bccd_keeps_its_splits_in_every_format(run, tmp_path, to, capsys):
    assert run("convert", DATA / "bccd", "--to", to, "--output-dir", tmp_path / "new") == 0
    said = capsys.readouterr()
    assert "BloodImage_00338.xml, object 13" in said.err and "BloodImage_00343.xml, object 4" in said.err
    before, after = find_spec(str(DATA / "bccd")), find_spec(str(tmp_path / "new"))
    for split in ("train", "val", "test"):
        old, new = by_name(before, split), by_name(after, split)
        assert old.keys() == new.keys()
        assert all(np.abs(np.array(old[n][1]) - new[n][1]).max() <= 0.5 and old[n][0] == new[n][0] for n in old)
