"""Folds of a cross-validation: which images they hold, what stays together, and the file that keeps them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.any_format import coco, put, put_images

from detect.data.description import find_spec
from detect.data.folds import FoldImages, Folds, draw_folds, read_folds, read_images, write_folds
from detect.errors import DataError, UsageError
from detect.io.files import write_text

NAMES = [f"{i}.png" for i in range(12)]


def images_of(folder: Path) -> FoldImages:
    return read_images(find_spec(str(folder), draw_splits=False))


def draw(images: FoldImages, count: int, seed: int = 0) -> dict[str, int]:
    """Return image name -> fold."""
    return dict(zip(images.names, draw_folds(images, count, seed, "set").tolist(), strict=True))


def test_every_image_of_train_and_val_is_in_one_fold_and_test_in_none(tmp_path):
    for split, names in (("train", NAMES), ("val", NAMES[:4]), ("test", NAMES[:3])):
        put(tmp_path / "set", "coco", split, f"{split}.json", names)
    images = images_of(tmp_path / "set")
    assert sorted(images.names) == sorted([*(f"train/{n}" for n in NAMES), *(f"val/{n}" for n in NAMES[:4])])
    assert [images.table.path(i) for i in range(16)] == [tmp_path / "set" / name for name in images.names]
    assert len(set(images.table.image_ids.tolist())) == 16
    fold_of = draw(images, 4)
    assert np.bincount(list(fold_of.values())).tolist() == [4, 4, 4, 4]


def test_a_folder_without_splits_gives_all_its_images_and_is_not_split(tmp_path):
    put(tmp_path / "set", "coco", "images", "all.json", NAMES)
    assert images_of(tmp_path / "set").names == [f"images/{n}" for n in NAMES]
    assert not (tmp_path / "set" / "splits.yaml").exists()
    find_spec(str(tmp_path / "set"))  # draws splits and saves them, so that there are images for a final test
    names = images_of(tmp_path / "set").names
    assert len(names) == 10
    # Folds that were drawn before are still found.
    spec = find_spec(str(tmp_path / "set"), draw_splits=False)
    assert read_images(spec, ["images/3.png", *(f"images/{n}" for n in NAMES[:3])]).names[0] == "images/3.png"
    with pytest.raises(DataError, match=r"no longer has 1 image of the cross-validation: images/gone.png"):
        read_images(spec, [*names, "images/gone.png"])


def test_a_folder_with_only_a_test_split_is_refused(tmp_path):
    put(tmp_path / "set", "coco", "test", "test.json", NAMES)
    with pytest.raises(UsageError, match="unknown split 'train'"):
        images_of(tmp_path / "set")


def test_images_that_two_splits_list_are_used_once(tmp_path, capsys):
    put_images(tmp_path / "set" / "images", *NAMES)
    for split, names in (("train", NAMES[:8]), ("val", NAMES[6:])):
        coco(tmp_path / "set" / f"{split}.json", names)
    assert len(images_of(tmp_path / "set").names) == 12
    assert "2 images of several splits used once" in capsys.readouterr().err


def test_near_duplicates_copies_and_clips_stay_in_one_fold(tmp_path):
    frames = [f"frame_{i:02}.png" for i in range(3)]
    train = [*NAMES, *(f"{i} m.png" for i in range(8)), "near.png", "3 copy.png", *frames]
    put(tmp_path / "set", "coco", "train", "train.json", train)
    put(tmp_path / "set", "coco", "val", "val.json", ["other.png", "4.rf.abcdef0.png"])
    shutil.copy(tmp_path / "set" / "train" / "5.png", tmp_path / "set" / "train" / "near.png")
    shutil.copy(tmp_path / "set" / "train" / "6.png", tmp_path / "set" / "val" / "other.png")
    images = images_of(tmp_path / "set")
    for seed in range(5):
        fold_of = draw(images, 5, seed)
        assert fold_of["train/near.png"] == fold_of["train/5.png"]
        assert fold_of["val/other.png"] == fold_of["train/6.png"]
        assert fold_of["train/3 copy.png"] == fold_of["train/3.png"]
        assert len({fold_of[f"train/{name}"] for name in frames}) == 1


def test_equal_names_in_train_and_val_are_different_images(tmp_path):
    """Many datasets number the images of each split; taken together, these would be 12 groups of two images."""
    for split in ("train", "val"):
        put(tmp_path / "set", "coco", split, f"{split}.json", NAMES)
    images = images_of(tmp_path / "set")
    assert len(set(draw(images, 24).values())) == 24


def test_each_class_is_spread_evenly_over_the_folds(tmp_path):
    put(tmp_path / "set", "coco", "images", "all.json", [f"{i}.png" for i in range(30)])
    coco(tmp_path / "set" / "all.json", [f"{i}.png" for i in range(30)], ("kite", "bird", "plane"))
    images = images_of(tmp_path / "set")
    fold_of = np.array(list(draw(images, 5).values()))
    for label in (1, 2, 3):
        assert np.bincount(fold_of[images.table.labels == label]).tolist() == [2] * 5


def test_folds_depend_only_on_the_seed(tmp_path):
    put(tmp_path / "set", "coco", "images", "all.json", NAMES)
    images = images_of(tmp_path / "set")
    assert draw(images, 3, seed=4) == draw(images_of(tmp_path / "set"), 3, seed=4)
    assert draw(images, 3, seed=4) != draw(images, 3, seed=5)


def test_a_class_in_one_fold_only_is_a_warning(tmp_path, capsys):
    put(tmp_path / "set", "coco", "images", "all.json", NAMES)
    coco(tmp_path / "set" / "all.json", NAMES, ("kite", "plane"))
    draw(images_of(tmp_path / "set"), 3)
    assert not capsys.readouterr().err
    content = json.loads((tmp_path / "set" / "all.json").read_text())
    for annotation in content["annotations"]:
        annotation["category_id"] = 1 + (annotation["image_id"] == 8)
    write_text(tmp_path / "set" / "all.json", json.dumps(content))
    draw(images_of(tmp_path / "set"), 3)
    assert "all objects of plane are in one fold; the model that is tested on it has not learned them" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(("count", "message"), [(13, "use at most `folds=12`"), (40, "12 images with objects in 12")])
def test_more_folds_than_groups_are_refused(tmp_path, count, message):
    put(tmp_path / "set", "coco", "images", "all.json", NAMES)
    with pytest.raises(UsageError, match=message):
        draw(images_of(tmp_path / "set"), count)


def test_objects_in_one_group_cannot_be_divided(tmp_path):
    put(tmp_path / "set", "coco", "images", "all.json", NAMES)
    content = json.loads((tmp_path / "set" / "all.json").read_text())
    write_text(tmp_path / "set" / "all.json", json.dumps(content | {"annotations": content["annotations"][:1]}))
    with pytest.raises(UsageError, match=r"1 image with objects in 1 group .* needs at least 2"):
        draw(images_of(tmp_path / "set"), 2)


def test_folds_are_read_as_they_were_written(tmp_path):
    folds = Folds("007", None, "auto", (("no", "a/1.0", "2024-01-01"), ("é 1.png", "~")))
    write_folds(tmp_path / "folds.yaml", folds)
    assert read_folds(tmp_path / "folds.yaml") == folds
    assert "é 1.png" in (tmp_path / "folds.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "data: x",
        "data: x\ndata_root:\nformat: auto\nfolds: {fold_1: [a], fold_3: [b]}",
        "data: x\ndata_root:\nformat: auto\nfolds: {fold_1: [a]}",
        "data: x\ndata_root:\nformat: auto\nfolds: {fold_1: [a, b], fold_2: [b]}",
        "data: x\ndata_root:\nformat: auto\nfolds: {fold_1: [a, b], fold_2: [[c]]}",
        "data: x\ndata_root:\nformat: auto\nfolds: {fold_1: [a, b], fold_2: 3}",
        "folds: {",
    ],
)
def test_other_content_than_folds_is_one_clear_line(tmp_path, content):
    write_text(tmp_path / "folds.yaml", content)
    with pytest.raises(DataError, match=r"folds\.yaml") as error:
        read_folds(tmp_path / "folds.yaml")
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"cannot read .*none\.yaml"):
        read_folds(tmp_path / "none.yaml")
