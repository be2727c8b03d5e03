"""Which images of a folder are trained, validated and tested on: as files or names tell, or dealt out."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import yaml
from helpers.any_format import WRITE, coco, members, put, put_images, put_text, yolo
from helpers.folders import SHARED

from detect.data import description
from detect.data.description import find_spec
from detect.data.readers import ONE_FILE_FORMATS
from detect.errors import DiskError

DATA = SHARED / "data"
NAMES = [f"{i}.png" for i in range(10)]


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch) -> Path:
    """The folder where splits are kept that cannot be kept with the data."""
    monkeypatch.setattr(description, "DATASETS", tmp_path / "datasets")
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


@pytest.mark.parametrize("form", WRITE)
@pytest.mark.parametrize("layout", ["beside", "apart", "folder in folder"])
def test_folders_named_after_splits_are_splits(tmp_path, form, layout):
    for split, word in (("train", "train"), ("val", "Valid"), ("test", "test2017")):
        images = {"beside": word, "apart": f"images/{word}", "folder in folder": f"{word}/images"}[layout]
        annotations = {"beside": word, "apart": f"labels/{word}", "folder in folder": f"{word}/labels"}[layout]
        if form in ONE_FILE_FORMATS:
            annotations += "/_annotations" + (".csv" if form == "csv" else ".json")
        put(tmp_path / "set", form, images, annotations, [f"{split}_{n}" for n in NAMES[:2]])
    found = members(find_spec(str(tmp_path / "set")))
    assert {s: [Path(n).name for n in names] for s, names in found.items()} == {
        split: [f"{split}_0.png", f"{split}_1.png"] for split in ("train", "val", "test")
    }
    assert not (tmp_path / "set" / "splits.yaml").exists()


@pytest.mark.parametrize("form", ONE_FILE_FORMATS)
def test_files_named_after_splits_are_splits_of_images_elsewhere(tmp_path, form):
    """COCO's own layout; both folders have images of the same names."""
    suffix = ".csv" if form == "csv" else ".json"
    for split in ("train", "val"):
        put(tmp_path / "set", form, f"images/{split}2017", f"annotations/instances_{split}2017{suffix}", NAMES[:2])
    found = members(find_spec(str(tmp_path / "set")))
    assert found == {s: [f"images/{s}2017/{n}" for n in NAMES[:2]] for s in ("train", "val")}


@pytest.mark.parametrize("form", WRITE)
def test_one_set_is_dealt_out_once_and_for_all(tmp_path, form, capsys):
    name = {"csv": "labels.csv"}.get(form, "labels.json") if form in ONE_FILE_FORMATS else "labels"
    put(tmp_path / "set", form, "images", name, NAMES)
    spec = find_spec(str(tmp_path / "set"))
    first = members(spec)
    assert {split: len(names) for split, names in first.items()} == {"train": 7, "val": 2, "test": 1}
    assert sorted(chain(*first.values())) == [f"images/{n}" for n in NAMES]
    assert form in spec.discovery_note and "splits.yaml" in spec.discovery_note
    put(tmp_path / "set", form, "images", name, [*NAMES, "new.png"])
    later = members(find_spec(str(tmp_path / "set")))
    assert later == {**first, "train": [*first["train"], "images/new.png"]}
    assert capsys.readouterr().err == ""


def test_one_file_of_images_in_folders_of_splits(tmp_path):
    names = [f"{split}/{n}" for split in ("train", "val") for n in NAMES[:2]]
    put(tmp_path / "set", "coco", "images", "all.json", names)
    assert members(find_spec(str(tmp_path / "set"))) == {
        split: [f"images/{split}/{n}" for n in NAMES[:2]] for split in ("train", "val")
    }


def test_a_missing_val_is_dealt_out_of_train_and_the_test_stays(tmp_path):
    for split, names in (("train", NAMES), ("test", ["t.png"])):
        put(tmp_path / "set", "coco", split, f"{split}.json", names)
    found = members(find_spec(str(tmp_path / "set")))
    assert found["test"] == ["test/t.png"]
    assert len(found["train"]) == 8 and len(found["val"]) == 2


def test_lists_of_voc_are_the_splits(tmp_path, capsys):
    names = [*NAMES, "a b.png", "a b 1.png"]
    put(tmp_path / "set", "voc", "JPEGImages", "Annotations", names)
    sets = tmp_path / "set" / "ImageSets"
    lists = {"train": "0,1,2,a b 1", "val": "3,gone,a b -1", "trainval": "0,1,2,3", "test": "4", "kite_train": "5"}
    for name, stems in lists.items():
        put_text(sets / "Main" / f"{name}.txt", "\n".join(stems.split(",")))
    put_text(sets / "Segmentation" / "train.txt", "6\n")  # is of a part, and comes later
    spec = find_spec(str(tmp_path / "set"))
    found = {split: [Path(n).stem for n in names] for split, names in members(spec).items()}
    assert found == {"train": ["0", "1", "2", "a b 1"], "val": ["3", "a b"], "test": ["4"]}
    assert "ImageSets" in spec.discovery_note and "leave 5 images out" in spec.discovery_note
    assert "1 listed images without annotations: gone" in capsys.readouterr().err


def test_of_trainval_what_val_has_is_not_trained_on(tmp_path):
    put(tmp_path / "set", "voc", "JPEGImages", "Annotations", NAMES)
    for name, stems in {"val": "3 4", "trainval": "0 1 2 3 4"}.items():
        put_text(tmp_path / "set" / "ImageSets" / "Main" / f"{name}.txt", "\n".join(stems.split()))
    found = members(find_spec(str(tmp_path / "set")))
    assert {split: [Path(n).stem for n in names] for split, names in found.items()} == {
        "train": ["0", "1", "2"],
        "val": ["3", "4"],
    }


@pytest.mark.parametrize(
    "declared",
    [
        {"train": "images/one", "val": "images/two"},
        {"train": "../images/one", "val": "../images/two"},
        {"path": "../datasets/elsewhere", "train": ["images/one"], "valid": ["images/two"]},
        {"train": "one.txt", "val": "two.txt"},
        {},  # and lists that are called so
    ],
)
def test_yolos_yaml_tells_the_splits_and_the_names(tmp_path, declared):
    for part in ("one", "two"):
        put_images(tmp_path / "set" / "images" / part, "a.png", f"{part}.png")
        yolo(tmp_path / "set" / "labels" / part, ["a.png", f"{part}.png"])
        put_text(tmp_path / "set" / f"{part}.txt", f"./images/{part}/a.png\n/away/images/{part}/{part}.png\n")
    if declared:
        put_text(tmp_path / "set" / "data.yaml", yaml.safe_dump({"names": {0: "kite"}, "nc": 1, **declared}))
    else:
        put_text(tmp_path / "set" / "obj.names", "kite\n")
        for part, name in (("one", "train"), ("two", "valid")):
            (tmp_path / "set" / f"{part}.txt").rename(tmp_path / "set" / f"{name}.txt")
    assert members(find_spec(str(tmp_path / "set"))) == {
        "train": ["images/one/a.png", "images/one/one.png"],
        "val": ["images/two/a.png", "images/two/two.png"],
    }


def test_a_description_of_yolos_that_is_out_of_date_is_told(tmp_path, capsys):
    for split in ("train", "val"):
        put(tmp_path / "set", "yolo", f"images/{split}", f"labels/{split}", NAMES[:2])
    put_text(tmp_path / "set" / "data.yaml", "names: [kite]\ntrain: ../train/images\nval: ../valid/images\n")
    assert members(find_spec(str(tmp_path / "set"))) == {
        split: [f"images/{split}/{n}" for n in NAMES[:2]] for split in ("train", "val")
    }
    assert "there are no images at '../valid/images', which should be 'val'" in capsys.readouterr().err


def test_an_image_that_is_gone_is_told_and_its_split_stays(tmp_path, capsys):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    first = members(find_spec(str(tmp_path / "set")))
    coco(tmp_path / "set" / "a.json", [n for n in NAMES if n != first["val"][0]])
    later = members(find_spec(str(tmp_path / "set")))
    assert later == {**first, "val": first["val"][1:]}
    assert f"lists 1 images that have no annotations any more: {first['val'][0]}" in capsys.readouterr().err


def test_splits_of_a_folder_that_cannot_be_written_to_are_kept_elsewhere(tmp_path, datasets, monkeypatch):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    from detect.data import splits

    write = splits.write_text

    def refuse(path, text):
        if path.parent == tmp_path / "set":
            raise DiskError("read-only")
        write(path, text)

    monkeypatch.setattr(splits, "write_text", refuse)
    spec = find_spec(str(tmp_path / "set"))
    assert [p.parent.name for p in datasets.rglob("set-*.yaml")] == ["splits"] and "datasets" in spec.discovery_note
    assert members(find_spec(str(tmp_path / "set"))) == members(spec)


def test_images_that_are_all_the_same_are_dealt_out_all_the_same(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    for name in NAMES:
        (tmp_path / "set" / name).write_bytes((tmp_path / "set" / NAMES[0]).read_bytes())
    for _ in range(2):
        assert {split: len(names) for split, names in members(find_spec(str(tmp_path / "set"))).items()} == {
            "train": 7,
            "val": 2,
            "test": 1,
        }


def test_copies_stay_together(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    for name in NAMES[1:4]:
        (tmp_path / "set" / name).write_bytes((tmp_path / "set" / NAMES[0]).read_bytes())
    assert sum(NAMES[0] in names for names in members(find_spec(str(tmp_path / "set"))).values()) == 1
    found = members(find_spec(str(tmp_path / "set")))
    assert any(set(NAMES[:4]) <= set(names) for names in found.values())


def test_a_test_set_that_comes_later_is_told(tmp_path, capsys):
    put(tmp_path / "set", "coco", "images", "train.json", NAMES)
    first = members(find_spec(str(tmp_path / "set")))
    put(tmp_path / "set", "coco", "images", "test.json", ["t.png"])
    later = members(find_spec(str(tmp_path / "set")))
    assert later == {**first, "test": ["images/t.png"]}
    assert "the 1 images of its 'test' are left out, as there is another" in capsys.readouterr().err


def test_doctor_does_not_keep_splits(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    looked = find_spec(str(tmp_path / "set"), keep=False)
    assert not (tmp_path / "set" / "splits.yaml").exists()
    assert members(looked) == members(find_spec(str(tmp_path / "set")))


def test_a_list_does_not_take_another_splits_image_for_one_that_is_gone(tmp_path):
    for split, names in (("train", ["1.png"]), ("val", ["0.png", "2.png"])):
        put(tmp_path / "set", "yolo", f"images/{split}", f"labels/{split}", names)
    put_text(tmp_path / "set" / "train.txt", "images/train/0.png\nimages/train/1.png\n")
    put_text(tmp_path / "set" / "val.txt", "images/val/0.png\nimages/val/2.png\n")
    assert members(find_spec(str(tmp_path / "set"))) == {
        "train": ["images/train/1.png"],
        "val": ["images/val/0.png", "images/val/2.png"],
    }
