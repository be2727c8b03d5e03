"""Conversion: datasets read back are equal except for reported losses, and an error leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.converted import HW, TEXTS, losses, one_image, read, read_back, same
from helpers.folders import SHARED

from detect.data import convert as converting
from detect.data.convert import convert
from detect.data.exporters import EXPORTERS, get_exporter
from detect.data.exporters.export_rows import (
    AREAS,
    CATEGORY_IDS,
    CROWDS,
    MASK_BOX_DIFFERENCES,
    MASKS,
    OBJECTS_WITHOUT_MASK,
)
from detect.data.exporters.file_names import choose_names
from detect.data.spec import DatasetSpec
from detect.errors import DataError, DiskError, UsageError
from detect.structures.class_names import ClassNames

DATA = SHARED / "data"
FORMATS = list(EXPORTERS)
ODD = (
    *(".hidden/.a.png", "tab\t.png", "line\n.png", "half \udcff.png", "no suffix", "odd.data", "two  spaces.png"),
    *(f"{'x' * 240}.png", f"{'X' * 240}.png", "back\\slash.png", "Zo\u00eb.png", "Zoe\u0308.png", "C:drive.png"),
)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A new folder, deleted after the test, since the real datasets are large."""
    yield tmp_path / "out" / "new set"
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize("kinds", [("box",), ("one",), ("parts", "rle"), ("box", "one", "parts", "rle")])
@pytest.mark.parametrize("form", FORMATS)
def test_written_dataset_is_read_back_equal(tmp_path, out, form, kinds):
    """Names with spaces, umlauts, folders and clashes; empty images; boxes, polygons, several parts, RLEs, crowds."""
    parts = {}
    for seed, split in enumerate(("train", "val", "test")):
        class_names, parts[split] = read(tmp_path / split, seed, kinds=kinds)
    names = choose_names(parts, get_exporter(form))
    assert convert(parts, class_names, form, out) == losses(form, parts, class_names)
    classes = tuple(class_names.names if form in ("coco", "yolo") else TEXTS.values())
    for split, table in read_back(form, out, names, classes).items():
        same(form, parts[split], table, names[split])
    assert sorted(p.name for p in out.parent.iterdir()) == ["new set"]


def test_image_names_are_kept_where_possible(tmp_path):
    """Names must differ ignoring case, and without suffix if annotation files have the same names."""
    _, table = read(tmp_path)
    elsewhere = table.append_images([tmp_path / "images" / "größe 1.png"], np.array([HW], np.int32))
    chosen = {form: choose_names({"train": elsewhere}, get_exporter(form))["train"] for form in FORMATS}
    kept = ["a.png", "A_2.png", "a.jpg", "sub folder/a.png", "größe 1.png", "images/b.png", "train.png", "c.png"]
    assert chosen["coco"] == chosen["via"] == [*kept, "größe 1_2.png"]
    by_stem = ["a.png", "A_2.png", "a_3.jpg", *kept[3:], "größe 1_2.png"]
    assert chosen["voc"] == by_stem
    assert chosen["yolo"] == [{"images/b.png": "b.png", "train.png": "train_.png"}.get(n, n) for n in by_stem]


@pytest.mark.skipif(sys.platform != "linux", reason="a disk that takes these names")
@pytest.mark.parametrize("form", FORMATS)
def test_unusual_image_names_are_read_back(tmp_path, out, form):
    class_names, table = read(tmp_path, names=(*ODD, "empty.png"))
    names = choose_names({"train": table}, get_exporter(form))["train"]
    convert({"train": table}, class_names, form, out)
    classes = tuple(class_names.names if form in ("coco", "yolo") else TEXTS.values())
    same(form, table, read_back(form, out, {"train": names}, classes)["train"], names)


def test_image_in_two_splits_is_in_both(tmp_path, out):
    """Splits of VOC share a folder: the image is written once unless its objects differ."""
    class_names, table = read(tmp_path, kinds=("one",))
    fewer = table.take_objects(np.arange(len(table.labels)) > 0)
    parts = {"train": table, "again": table[:2], "other": fewer[:1]}
    names = choose_names(parts, get_exporter("voc"))
    assert names["again"] == names["train"][:2] and names["other"] == ["a_4.png"]
    convert(parts, class_names, "voc", out)
    assert len([p for p in (out / "JPEGImages").rglob("*") if p.is_file()]) == len(table) + 1
    new = read_back("voc", out, names, tuple(TEXTS.values()))
    for split in parts:
        same("voc", parts[split], new[split], names[split])
    yolo = choose_names(parts, get_exporter("yolo"))
    assert yolo["again"] == yolo["train"][:2] and yolo["other"] == ["a.png"]


def test_image_names_can_be_given(tmp_path, out):
    class_names, table = read(tmp_path)
    names = {"train": [f"deep/{i}.png" for i in range(len(table))]}
    convert({"train": table}, class_names, "yolo", out, names)
    (new,) = read_back("yolo", out, names, class_names.names).values()
    same("yolo", table, new, names["train"])


def test_invalid_arguments_are_errors_before_anything_is_written(tmp_path, out):
    class_names, table = one_image(tmp_path, {"bbox": [1, 1, 9, 9]})
    with pytest.raises(UsageError, match="unknown format 'yollo': did you mean yolo"):
        convert({"a": table}, class_names, "yollo", out)
    for split in ("a/b", "..", "", ".a"):
        with pytest.raises(UsageError, match="cannot be the name of a folder"):
            convert({split: table}, class_names, "coco", out)
    with pytest.raises(UsageError, match="images is not empty; name a new one"):
        convert({"a": table}, class_names, "coco", tmp_path / "images")
    with pytest.raises(UsageError, match=r"ground truth\.json is not a folder"):
        convert({"a": table}, class_names, "coco", tmp_path / "ground truth.json")
    for names, said in ((("a b", "a  b"), "'a  b' and 'a b' would be equal"), ((" ", "b"), "visible characters")):
        for form in ("voc", "via"):
            with pytest.raises(UsageError, match=said):
                convert({"a": table}, ClassNames(names), form, out)
    assert not out.exists() and not list(tmp_path.rglob(".*"))


def test_existing_empty_folder_is_filled(tmp_path, out):
    class_names, table = one_image(tmp_path, {"bbox": [1, 1, 9, 9]})
    out.mkdir(parents=True)
    convert({"a": table}, class_names, "coco", out)
    assert sorted(p.name for p in out.iterdir()) == ["a", "annotations"]


@pytest.mark.parametrize("there", [False, True])
def test_full_disk_leaves_nothing(tmp_path, out, monkeypatch, there):
    class_names, table = read(tmp_path)
    out.parent.mkdir()
    if there:
        out.mkdir()

    def copyfile(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        if source.name == "train.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    monkeypatch.setattr(converting.shutil, "copyfile", copyfile)
    with pytest.raises(DiskError, match=r"cannot write .*new set: No space left on device"):
        convert({"a": table}, class_names, "coco", out)
    assert [p.name for p in out.parent.rglob("*")] == ["new set"] * there


def test_missing_image_is_named_and_leaves_nothing(tmp_path, out):
    class_names, table = read(tmp_path)
    table.path(3).unlink()
    with pytest.raises(DataError, match=r"cannot read .*sub folder/a\.png: No such file"):
        convert({"a": table}, class_names, "yolo", out)
    assert not list(out.parent.iterdir())


def real(name: str) -> DatasetSpec:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs {name}")
    if name == "bccd":
        lists = {s: folder / "BCCD" / "ImageSets" / "Main" / f"{s}.txt" for s in ("train", "val", "test")}
        files = {s: [f"{stem}.jpg" for stem in path.read_text().split()] for s, path in lists.items()}
        place = {"images": "BCCD/JPEGImages", "annotations": "BCCD/Annotations"}
        return DatasetSpec(name, "voc", folder, {s: place | {"files": f} for s, f in files.items()})
    if name == "balloon":
        splits = {s: {"images": s, "annotations": f"{s}/via_region_data.json"} for s in ("train", "val")}
        return DatasetSpec(name, "via", folder, splits, ("balloon",))
    splits = {
        s: {"images": f"{s}2017", "annotations": f"annotations/instances_{s}2017.json"} for s in ("train", "val")
    }
    return DatasetSpec(name, "coco", folder, splits)


REAL_LOSSES = {
    ("bccd", "via"): {OBJECTS_WITHOUT_MASK: 4886},
    ("balloon", "voc"): {MASKS: 305, AREAS: 305},
    ("coco_tiny80", "voc"): {MASKS: 1520, AREAS: 1519, CATEGORY_IDS: 80},
    ("coco_tiny80", "yolo"): {CROWDS: 17, AREAS: 255, CATEGORY_IDS: 80},
    ("coco_tiny80", "labelme"): {CROWDS: 17, AREAS: 255, CATEGORY_IDS: 80},
    ("coco_tiny80", "via"): {AREAS: 269, MASK_BOX_DIFFERENCES: 17, CATEGORY_IDS: 80},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["bccd", "balloon", "coco_tiny80"])
def test_real_datasets_are_read_back_equal(name, form, out, capsys):
    spec = real(name)
    parts = {}
    for split in spec.splits:
        class_names, parts[split] = spec.read(split)
    assert convert(parts, class_names, form, out) == REAL_LOSSES.get((name, form), {})
    names = choose_names(parts, get_exporter(form))
    for split, table in read_back(form, out, names, class_names.names).items():
        same(form, parts[split], table, names[split])
