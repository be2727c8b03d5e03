"""Images that exist only inside labelme's files."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.labelme_files import BOX, png, shape, write
from helpers.reading import read_problems, read_split
from helpers.via_files import HW

from detect.data.convert import convert
from detect.data.description import find_spec
from detect.data.readers import embedded_images
from detect.errors import DataError
from detect.media.images import read_image, write_image


@pytest.fixture(autouse=True)
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where images are unpacked."""
    monkeypatch.setattr(embedded_images, "datasets_folder", lambda: tmp_path / "datasets")
    return tmp_path / "datasets" / "unpacked"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def pixels(value: int) -> np.ndarray:
    return np.full((*HW, 3), value, np.uint8)


def value_of(path: Path) -> int:
    return int(read_image(path)[0, 0, 0])


@pytest.mark.parametrize(
    "written", ["a.png", "sub/a.png", "..\\images\\a.png", "C:\\me\\a.png", "https://x.org/1/a.png", None]
)
@pytest.mark.parametrize("before", ["", "data:image/png;base64,"])
def test_an_image_without_a_file_is_unpacked_and_the_dataset_is_unchanged(folder, unpacked, written, before):
    write(folder / "a.json", shape(), image=written, imageData=before + png(pixels(70)))
    _, (a,) = read_split("labelme", folder, folder)
    assert a.boxes.tolist() == [BOX] and value_of(a.path) == 70 and unpacked in a.path.parents
    assert [path.name for path in folder.iterdir()] == ["a.json"]
    ((kind, place),) = read_problems("labelme", folder, folder)
    assert kind == "embedded_image" and place.startswith("a.json: ")


@pytest.mark.parametrize("file", ["a.png", "A.PNG", "a.jpg"])
def test_a_file_wins_over_the_image_inside(folder, file):
    write_image(folder / file, pixels(20))
    write(folder / "a.json", shape(), image="a.png", imageData=png(pixels(70)))
    _, (a,) = read_split("labelme", folder, folder)
    assert a.path == folder / file
    assert not {"embedded_image", "unannotated_image"} & {kind for kind, _ in read_problems("labelme", folder, folder)}


def test_a_folder_may_hold_both_kinds(folder):
    write_image(folder / "a.png", pixels(20))
    write(folder / "a.json", shape(), imageData=png(pixels(70)))
    write(folder / "b.json", shape(), imageData=png(pixels(80)))
    _, (a, b) = read_split("labelme", folder, folder)
    assert (value_of(a.path), value_of(b.path)) == (20, 80)


def test_a_changed_annotation_file_is_unpacked_again(folder):
    for value in (70, 90):
        write(folder / "a.json", shape(), imageData=png(pixels(value)))
        os.utime(folder / "a.json", (value, value))
        _, (a,) = read_split("labelme", folder, folder)
        assert value_of(a.path) == value


def test_different_images_of_one_name_are_kept_apart(folder):
    for name, value in (("a", 70), ("b", 80), ("c", 70)):
        write(folder / f"{name}.json", shape(), image="image.png", imageData=png(pixels(value)))
    _, records = read_split("labelme", folder, folder)
    assert [(record.path.name, value_of(record.path)) for record in records] == [("image.png", 70), ("b.png", 80)]
    assert "malformed_image_entry" in {kind for kind, _ in read_problems("labelme", folder, folder)}


def test_the_image_is_unpacked_once(folder):
    write(folder / "a.json", shape(), imageData=png(pixels(70)))
    _, (a,) = read_split("labelme", folder, folder)
    times = a.path.stat().st_ctime_ns
    _, (a,) = read_split("labelme", folder, folder)
    assert a.path.stat().st_ctime_ns == times


@pytest.mark.parametrize(
    ("data", "kind"),
    [("%%%", "unreadable_image"), (base64.b64encode(b"text").decode(), "unreadable_image"), (5, "missing_image")],
)
def test_a_damaged_image_is_skipped(folder, data, kind):
    write(folder / "a.json", shape(), imageData=png(pixels(70)))
    write(folder / "b.json", shape(), imageData=png(pixels(70)))
    write(folder / "c.json", shape(), imageData=data)
    _, records = read_split("labelme", folder, folder)
    assert [record.path.name for record in records] == ["a.png", "b.png"]
    assert kind in {found for found, _ in read_problems("labelme", folder, folder)}


def test_a_folder_of_annotation_files_alone_is_a_dataset_that_can_be_converted(folder, tmp_path):
    for i in range(4):
        write(folder / f"{i}.json", shape(), imageData=png(pixels(40 * i)))
    spec = find_spec(str(folder), save_splits=False)
    assert spec.format == "labelme" and set(spec.splits) == {"train", "val", "test"}
    names = spec.all_classes()
    convert({split: spec.read(split, names)[1] for split in spec.splits}, names, "coco", tmp_path / "new")
    assert sorted(path.stem for path in (tmp_path / "new").rglob("*.png")) == ["0", "1", "2", "3"]


def test_without_image_data_the_missing_images_are_named(folder):
    for i in range(4):
        write(folder / f"{i}.json", shape())
    with pytest.raises(DataError, match=r"4 of its 4 images are missing|2 of its 2 images are missing"):
        find_spec(str(folder), save_splits=False).read("train")
