"""YOLO: boxes and polygons as fractions of the image, and lines that are neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.reading import read_problems, read_split

from detect.data.discovery.recognition import recognize_format
from detect.data.readers import yolo
from detect.errors import DataError
from detect.media.images import write_image
from detect.structures import masks

CLASSES = ["kite", "bird"]
BOX = "1 0.5 0.5 0.5 0.25"  # of 60 x 40 pixels: [15, 15, 45, 25]
POLYGON = "0 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5"  # [15, 10, 45, 20]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images/more", "labels/more"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a.png", "b.png", "more/a.png"):
        write_image(tmp_path / "images" / name, np.zeros((40, 60, 3), np.uint8))
    return tmp_path


def problems(folder: Path) -> list[tuple[str, str]]:
    return read_problems("yolo", folder / "images", folder / "labels", CLASSES)


def read(folder: Path, classes: list[str] | None = CLASSES, **labels: str):
    for name, text in labels.items():
        (folder / "labels" / f"{name}.txt").write_text(text)
    return read_split("yolo", folder / "images", folder / "labels", classes)


def test_boxes_are_centers_and_sides_as_fractions(folder):
    (folder / "labels" / "more" / "a.txt").write_text("0 0.1 0.1 0.2 0.2")
    names, (a, b, more) = read(folder, a=f"{BOX}\n\n0 0.25 0.5 0.5 1\r\n", b="")
    assert names.names == ("kite", "bird")
    assert a.boxes.tolist() == [[15, 15, 45, 25], [0, 0, 30, 40]] and a.labels.tolist() == [2, 1]
    assert a.areas.tolist() == [300, 1200] and a.image_hw == (40, 60) and a.masks is None
    assert len(b) == 0 and more.path == folder / "images" / "more" / "a.png" and len(more) == 1


def test_labels_of_one_camera_are_not_given_to_an_image_of_another(tmp_path):
    for name in ("images/cam1", "images/cam2", "labels/cam1", "labels/cam2"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("cam1/2", "cam2/1", "cam2/2"):
        write_image(tmp_path / f"images/{name}.png", np.zeros((40, 60, 3), np.uint8))
    for name in ("cam1/1", "cam1/2", "cam2/2"):
        (tmp_path / f"labels/{name}.txt").write_text(BOX)
    _, records = read_split("yolo", tmp_path / "images", tmp_path / "labels", CLASSES)
    assert {record.path.relative_to(tmp_path / "images").as_posix(): len(record) for record in records} == {
        "cam1/2.png": 1,
        "cam2/1.png": 0,
        "cam2/2.png": 1,
    }
    assert ("missing_image", "cam1/1.txt: no image has this name") in problems(tmp_path)


def test_a_line_that_says_no_object_makes_an_image_without_objects(folder):
    _, (a, b, _) = read(folder, ["kite", "background"], a="1 0 0 0 0", b="0 0.5 0.5 0.5 0.25")
    assert len(a) == 0 and b.boxes.tolist() == [[15, 15, 45, 25]]
    found = read_problems("yolo", folder / "images", folder / "labels", ["kite", "background"])
    assert [kind for kind, _ in found] == ["no_object"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 100 50 40 30", "pixels"),
        ("kite 0.5 0.5 0.2 0.2", "names instead of numbers of classes, such as 'kite'"),
        ("traffic light 0.5 0.5 0.2 0.2", "names instead of numbers of classes, such as 'traffic light'"),
        ("Apple 10.5 20.0 110.0 90.0", "names instead of numbers of classes, such as 'Apple', and.*pixels"),
        ("0,0.5,0.5,0.2,0.2", "commas"),
        ("0, 0.5, 0.5, 0.2, 0.2", "commas"),
        ("0 0,5 0,5 0,2 0,2", "commas"),
        ("0;0.5;0.5;0.2;0.2", "commas"),
    ],
)
def test_lines_that_are_nearly_yolo_are_refused_with_the_reason(tmp_path, line, said):
    (tmp_path / "a.txt").write_text(line)
    with pytest.raises(ValueError, match=said):
        recognize_format(tmp_path / "a.txt")


def test_polygons_are_masks_with_their_boxes(folder):
    _, (a, b, _) = read(folder, a=POLYGON)
    assert a.boxes.tolist() == [[15, 10, 45, 20]] and a.areas.tolist() == [300] and b.masks == []
    bitmap = masks.to_bitmap(masks.from_coco(a.masks[0], a.image_hw))
    assert bitmap[10:20, 15:45].all() and bitmap.sum() == 300


def test_one_box_among_polygons_drops_all_masks_with_a_warning(folder, capsys):
    _, records = read(folder, a=f"{POLYGON}\n{BOX}", b=POLYGON)
    assert [len(r) for r in records] == [2, 1, 0] and all(r.masks is None for r in records)
    assert "1 image has objects without a mask, so no masks are used" in capsys.readouterr().err


def test_image_without_file_has_no_objects_and_file_without_image_is_reported(folder):
    _, records = read(folder, c=BOX, b=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 0), ("b.png", 1), ("a.png", 0)]
    ((kind, location),) = problems(folder)
    assert kind == "missing_image" and location.startswith("c.txt")


def test_second_image_of_the_same_name_is_skipped(folder):
    write_image(folder / "images" / "a.webp", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder, a=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 1), ("b.png", 0), ("a.png", 0)]
    ((kind, location),) = problems(folder)
    assert kind == "unannotated_image" and location.startswith("a.webp")


def test_label_file_may_be_called_like_a_list(folder):
    write_image(folder / "images" / "test.png", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder, test=BOX, train="images/a.png")
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 0), ("b.png", 0), ("a.png", 0), ("test.png", 1)]


@pytest.mark.parametrize(
    ("line", "kind", "detail"),
    [
        ("1 0.5 0.5 0 0.25", "zero_area_box", "(30, 15, 30, 25)"),
        ("1 0.5 0.5 -0.5 0.25", "inverted_box", ""),
        ("1 0.5 nan 0.5 0.25", "non_finite_box", "nan"),
        ("1 1.5 0.5 0.5 0.25", "box_outside_image", ""),
        ("3 0.5 0.5 0.5 0.25", "unknown_class", "3, classes are 0 to 1"),
        ("-1 0.5 0.5 0.5 0.25", "unknown_class", "-1"),
        ("0.5 0.5 0.5 0.5 0.25", "unknown_class", "0.5"),
        ("bird 0.5 0.5 0.5 0.25", "malformed_object", "'bird 0.5 0.5 0.5 0.25'"),
        ("1 0.5 0.5 0.5", "malformed_object", "3 numbers"),
        ("1", "malformed_object", "0 numbers"),
        ("1 0.5 0.5 0.5 0.25 1.5", "malformed_object", "5 numbers"),
        ("1 50 40 30 20", "box_outside_image", "pixels?"),
        ("1 0.5 0.5", "too_few_points", ""),
        ("1 0.1 0.1 0.1 0.1 0.1 0.1", "zero_area_box", ""),
    ],
)
def test_invalid_lines_are_reported_with_file_and_line(folder, line, kind, detail):
    _, (a, *_) = read(folder, a=f"{BOX}\n{line}\n{BOX}")
    assert len(a) == (3 if kind == "inverted_box" else 2)
    ((found, location),) = problems(folder)
    assert found == kind and location.startswith("a.txt, line 2") and detail in location


def test_binary_label_file_is_skipped_and_others_are_read(folder):
    (folder / "labels" / "a.txt").write_bytes(b"\xff\xfe\x00\xd8")
    _, records = read(folder, b=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("b.png", 1), ("a.png", 0)]
    ((kind, location),) = problems(folder)
    assert kind == "unreadable_annotations" and location.startswith("a.txt")


def test_class_names_and_label_files_are_required(folder):
    with pytest.raises(DataError, match=r"are numbers; list their names"):
        read(folder, None, a=BOX)
    with pytest.raises(DataError, match="no label file"):
        yolo.parse(folder / "images", folder / "images", CLASSES)


def test_many_label_files_without_images_do_not_reject_the_split(folder):
    """A file without an image belongs to no split, so it is not counted among the missing images of this one."""
    for name in "vwxyz":
        (folder / "labels" / f"{name}.txt").write_text(BOX)
    _, table = read(folder, a=BOX)
    assert len(table) == 3 and len(table.labels) == 1
    assert [kind for kind, _ in problems(folder)] == ["missing_image"] * 5
