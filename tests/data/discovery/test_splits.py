"""Splits of a folder: declared in files, named by paths, or drawn at random and saved."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.any_format import HW, SUFFIXES, WRITE, coco, members, put, put_images, put_text, yolo
from helpers.folders import SHARED

from detect.data import description
from detect.data.description import find_spec
from detect.data.readers import READERS, get_reader
from detect.errors import DataError, DiskError
from detect.media.images import write_image

DATA = SHARED / "data"
NAMES = [f"{i}.png" for i in range(10)]
ONE_FILE_FORMATS = [name for name in READERS if get_reader(name).one_file_per_split]
assert set(SUFFIXES) == set(ONE_FILE_FORMATS)


@pytest.fixture(autouse=True)
def datasets(tmp_path, monkeypatch) -> Path:
    """Folder for the splits of folders that are not writable."""
    monkeypatch.setattr(description, "datasets_folder", lambda: tmp_path / "datasets")
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


@pytest.mark.parametrize("form", WRITE)
@pytest.mark.parametrize("layout", ["beside", "separate", "nested"])
def test_folders_named_after_splits_are_splits(tmp_path, form, layout):
    for split, word in (("train", "train"), ("val", "Valid"), ("test", "test2017")):
        images = {"beside": word, "separate": f"images/{word}", "nested": f"{word}/images"}[layout]
        annotations = {"beside": word, "separate": f"labels/{word}", "nested": f"{word}/labels"}[layout]
        if form in ONE_FILE_FORMATS:
            annotations += f"/_annotations{SUFFIXES[form]}"
        put(tmp_path / "set", form, images, annotations, [f"{split}_{n}" for n in NAMES[:2]])
    found = members(find_spec(str(tmp_path / "set")))
    assert {s: [Path(n).name for n in names] for s, names in found.items()} == {
        split: [f"{split}_0.png", f"{split}_1.png"] for split in ("train", "val", "test")
    }
    assert not (tmp_path / "set" / "splits.yaml").exists()


@pytest.mark.parametrize("form", ONE_FILE_FORMATS)
def test_files_named_after_splits_are_splits(tmp_path, form):
    """The layout of COCO itself; both image folders have files of the same names."""
    suffix = SUFFIXES[form]
    for split in ("train", "val"):
        put(tmp_path / "set", form, f"images/{split}2017", f"annotations/instances_{split}2017{suffix}", NAMES[:2])
    found = members(find_spec(str(tmp_path / "set")))
    assert found == {s: [f"images/{s}2017/{n}" for n in NAMES[:2]] for s in ("train", "val")}


@pytest.mark.parametrize("form", WRITE)
def test_random_splits_are_saved_and_stay_the_same(tmp_path, form, capsys):
    name = f"labels{SUFFIXES.get(form, '')}"
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


def test_image_folders_named_after_splits_divide_one_file(tmp_path):
    names = [f"{split}/{n}" for split in ("train", "val") for n in NAMES[:2]]
    put(tmp_path / "set", "coco", "images", "all.json", names)
    assert members(find_spec(str(tmp_path / "set"))) == {
        split: [f"images/{split}/{n}" for n in NAMES[:2]] for split in ("train", "val")
    }


def test_missing_val_is_drawn_from_train_and_test_stays(tmp_path):
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
    put_text(sets / "Segmentation" / "train.txt", "6\n")  # lists a subset, so that Main wins
    spec = find_spec(str(tmp_path / "set"))
    found = {split: [Path(n).stem for n in names] for split, names in members(spec).items()}
    assert found == {"train": ["0", "1", "2", "a b 1"], "val": ["3", "a b"], "test": ["4"]}
    assert "ImageSets" in spec.discovery_note and "5 images in no split" in spec.discovery_note
    assert "1 image listed in ImageSets has no annotations: gone" in capsys.readouterr().err


def test_images_of_val_are_removed_from_trainval(tmp_path):
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
        {},  # only lists named after the splits
    ],
)
def test_yaml_of_yolo_declares_splits_and_class_names(tmp_path, declared):
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


@pytest.mark.parametrize(
    "text",
    ["names: [{}]", "names:\n- {}\n", "names: {{0: {}}}", "names: {{'0': {}}}", "names:\n  0: {} # first\n"],
)
@pytest.mark.parametrize("typed", ["off", "Yes", "007", "1e3", "12:30", "1_000", "0x10", "2024-01-01", "'null'", "no"])
def test_class_names_of_yolo_are_the_text_that_was_typed(tmp_path, text, typed):
    put(tmp_path / "set", "yolo", "images/train", "labels/train", NAMES)
    put_text(tmp_path / "set" / "data.yaml", text.format(typed))
    spec = find_spec(str(tmp_path / "set"), save_splits=False)
    assert spec.read("train")[0].names == (typed.strip("'"),)


def test_folders_of_splits_may_have_the_names_of_numbers(tmp_path):
    for part in ("2024", "007"):
        put(tmp_path / "set", "yolo", f"images/{part}", f"labels/{part}", NAMES[:2])
    for path in ("images/2024", "2024"):
        put_text(tmp_path / "set" / "data.yaml", f"path: images\nnames: [kite]\ntrain: {path}\nval: [007]\n")
        found = members(find_spec(str(tmp_path / "set")))
        assert found == {
            "train": [f"images/2024/{n}" for n in NAMES[:2]],
            "val": [f"images/007/{n}" for n in NAMES[:2]],
        }


def test_saved_splits_may_list_names_that_look_like_numbers(tmp_path):
    names = ["1e3", "007", "2024-01-01", "x.png"]
    put_images(tmp_path / "set", *(f"{n}.png" for n in names))
    for name in names[:3]:
        (tmp_path / "set" / f"{name}.png").rename(tmp_path / "set" / name)
    (tmp_path / "set" / "x.png.png").rename(tmp_path / "set" / "x.png")
    coco(tmp_path / "set" / "a.json", names)
    put_text(tmp_path / "set" / "splits.yaml", "val:\n- 007\ntest:\n- 1e3\n- 2024-01-01\n")
    found = members(find_spec(str(tmp_path / "set")))
    assert found == {"train": ["x.png"], "val": ["007"], "test": ["1e3", "2024-01-01"]}


def test_outdated_yaml_of_yolo_gives_a_warning(tmp_path, capsys):
    for split in ("train", "val"):
        put(tmp_path / "set", "yolo", f"images/{split}", f"labels/{split}", NAMES[:2])
    put_text(tmp_path / "set" / "data.yaml", "names: [kite]\ntrain: ../train/images\nval: ../valid/images\n")
    assert members(find_spec(str(tmp_path / "set"))) == {
        split: [f"images/{split}/{n}" for n in NAMES[:2]] for split in ("train", "val")
    }
    assert "no images at '../valid/images', the value of 'val'" in capsys.readouterr().err


def test_removed_image_gives_a_warning_and_splits_stay(tmp_path, capsys):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    first = members(find_spec(str(tmp_path / "set")))
    coco(tmp_path / "set" / "a.json", [n for n in NAMES if n != first["val"][0]])
    later = members(find_spec(str(tmp_path / "set")))
    assert later == {**first, "val": first["val"][1:]}
    assert f"1 listed image: {first['val'][0]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changed",
    [
        lambda name: f"images/{name}",
        lambda name: name.replace(".png", ".jpg"),
        lambda name: f"old\\set\\{name}",
        lambda name: name.removesuffix(".png"),
    ],
)
def test_saved_splits_with_names_of_another_format_are_matched(tmp_path, capsys, changed):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    first = members(find_spec(str(tmp_path / "set")))
    path = tmp_path / "set" / "splits.yaml"
    saved = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({split: [changed(name) for name in names] for split, names in saved.items()}))
    assert members(find_spec(str(tmp_path / "set"))) == first
    assert "no annotations" not in capsys.readouterr().err


def test_saved_splits_of_another_version_of_the_folder_are_an_error(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    (tmp_path / "set" / "splits.yaml").write_text("val: [x.png, y.png, 1.png]\ntest: [z.png]\n")
    with pytest.raises(
        DataError, match=r"splits\.yaml was made for another version .* 3 are not .*x\.png.* delete the file"
    ):
        find_spec(str(tmp_path / "set"))


@pytest.mark.parametrize("form", ["coco", "voc", "labelme"])
def test_a_single_image_is_in_train(tmp_path, form):
    put(tmp_path / "set", form, "", "a.json" if form == "coco" else "", NAMES[:1])
    spec = find_spec(str(tmp_path / "set"))
    assert {split: [Path(name).name for name in of] for split, of in members(spec).items()} == {"train": NAMES[:1]}
    assert "1 image" in spec.discovery_note and not (tmp_path / "set" / "splits.yaml").exists()


def test_splits_of_a_read_only_folder_are_saved_in_the_datasets_folder(tmp_path, datasets, monkeypatch):
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


def test_identical_images_are_split_like_different_ones(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    for name in NAMES:
        (tmp_path / "set" / name).write_bytes((tmp_path / "set" / NAMES[0]).read_bytes())
    for _ in range(2):
        assert {split: len(names) for split, names in members(find_spec(str(tmp_path / "set"))).items()} == {
            "train": 7,
            "val": 2,
            "test": 1,
        }


def test_copies_are_in_the_same_split(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    for name in NAMES[1:4]:
        (tmp_path / "set" / name).write_bytes((tmp_path / "set" / NAMES[0]).read_bytes())
    assert sum(NAMES[0] in names for names in members(find_spec(str(tmp_path / "set"))).values()) == 1
    found = members(find_spec(str(tmp_path / "set")))
    assert any(set(NAMES[:4]) <= set(names) for names in found.values())


def write_different_images(folder: Path, names: list[str]) -> None:
    for pixels, name in zip(
        np.random.default_rng(0).integers(0, 256, (len(names), *HW, 3), np.uint8), names, strict=True
    ):
        write_image(folder / name, pixels)


@pytest.mark.parametrize("form", ["coco", "voc"])
def test_augmented_copies_of_an_image_are_in_the_same_split(tmp_path, form):
    names = [f"photo{i}_jpg.rf.{i:x}{copy}{'0' * 20}.png" for i in range(12) for copy in "abc"]
    put(tmp_path / "set", form, "", "" if form == "voc" else "a.json", names)
    write_different_images(tmp_path / "set", names)
    spec = find_spec(str(tmp_path / "set"))
    found = {split: {name.partition(".")[0] for name in of} for split, of in members(spec).items()}
    assert sum(map(len, found.values())) == 12 and all(found.values())
    assert "the copies of 12 images kept together" in spec.discovery_note


@pytest.mark.parametrize("clips", [1, 2, 10])
def test_frames_of_clips_are_split_by_clip_or_by_ranges(tmp_path, clips):
    names = [f"clip{c}_{i:04d}.png" for c in range(clips) for i in range(60 // clips)]
    put(tmp_path / "set", "coco", "", "a.json", names)
    write_different_images(tmp_path / "set", names)
    split_of = {name: split for split, of in members(find_spec(str(tmp_path / "set"))).items() for name in of}
    assert set(split_of.values()) == {"train", "val", "test"}
    changes = sum(split_of[one] != split_of[next_one] for one, next_one in pairwise(names))
    assert changes <= 20
    if clips == 10:
        assert all(len({split_of[name] for name in names if name.startswith(f"clip{c}_")}) == 1 for c in range(clips))


def test_later_test_set_replaces_the_random_one_with_a_warning(tmp_path, capsys):
    put(tmp_path / "set", "coco", "images", "train.json", NAMES)
    first = members(find_spec(str(tmp_path / "set")))
    put(tmp_path / "set", "coco", "images", "test.json", ["t.png"])
    later = members(find_spec(str(tmp_path / "set")))
    assert later == {**first, "test": ["images/t.png"]}
    assert "ignored the split 'test' (1 image)" in capsys.readouterr().err


def test_splits_need_not_be_saved(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    unsaved = find_spec(str(tmp_path / "set"), save_splits=False)
    assert not (tmp_path / "set" / "splits.yaml").exists()
    assert members(unsaved) == members(find_spec(str(tmp_path / "set")))


def test_a_random_split_of_a_complete_folder_never_changes(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    write_different_images(tmp_path / "set", NAMES)
    drawn = members(find_spec(str(tmp_path / "set")))
    assert (drawn["val"], drawn["test"]) == (["7.png", "9.png"], ["4.png"])


def test_images_without_a_file_are_never_drawn_for_val_or_test(tmp_path):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    write_different_images(tmp_path / "set", NAMES)
    complete = members(find_spec(str(tmp_path / "set"), save_splits=False))
    absent = [f"absent{i}.png" for i in range(11)]
    coco(tmp_path / "set" / "a.json", [*NAMES[:5], *absent, *NAMES[5:]])
    drawn = {split: part["files"] for split, part in find_spec(str(tmp_path / "set")).splits.items()}
    assert drawn == {**complete, "train": [*complete["train"], *sorted(absent)]}
    assert not (tmp_path / "set" / "splits.yaml").exists()


def test_up_to_half_of_the_images_of_a_folder_may_be_missing(tmp_path, capsys):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    write_different_images(tmp_path / "set", NAMES)
    complete = members(find_spec(str(tmp_path / "set"), save_splits=False))
    absent = [f"absent{i}.png" for i in range(11)]
    coco(tmp_path / "set" / "a.json", [*NAMES, *absent])
    with pytest.raises(DataError, match="split 'train': 11 of the 21 images of all random splits are missing"):
        find_spec(str(tmp_path / "set")).read("train")
    coco(tmp_path / "set" / "a.json", [*NAMES, *absent[:10]])
    for _ in range(2):  # drawn, and as saved
        spec = find_spec(str(tmp_path / "set"))
        assert {split: list(spec.read(split)[1].names) for split in spec.splits} == complete
        assert "missing image files: 10 skipped" in capsys.readouterr().err
    assert (tmp_path / "set" / "splits.yaml").exists()


@pytest.mark.parametrize("broken", ["size", "content"])
def test_images_that_reading_skips_are_never_drawn_for_val_or_test(tmp_path, broken):
    put(tmp_path / "set", "coco", "", "a.json", NAMES)
    write_different_images(tmp_path / "set", NAMES)
    drawn = members(find_spec(str(tmp_path / "set"), save_splits=False))
    skipped = [*drawn["val"], *drawn["test"]]
    for name in skipped:
        if broken == "size":
            write_image(tmp_path / "set" / name, np.zeros((9, 9, 3), np.uint8))
        else:
            (tmp_path / "set" / name).write_bytes(b"?" * 100)
    later = find_spec(str(tmp_path / "set"), save_splits=False)
    assert set(skipped) <= set(later.splits["train"]["files"]) and {"val", "test"} <= set(later.splits)


def test_missing_image_of_a_list_is_not_replaced_by_that_of_another_split(tmp_path):
    for split, names in (("train", ["1.png"]), ("val", ["0.png", "2.png"])):
        put(tmp_path / "set", "yolo", f"images/{split}", f"labels/{split}", names)
    put_text(tmp_path / "set" / "train.txt", "images/train/0.png\nimages/train/1.png\n")
    put_text(tmp_path / "set" / "val.txt", "images/val/0.png\nimages/val/2.png\n")
    assert members(find_spec(str(tmp_path / "set"))) == {
        "train": ["images/train/1.png"],
        "val": ["images/val/0.png", "images/val/2.png"],
    }
