"""YOLO's text files: boxes and polygons in parts of the image, and lines that are neither."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.reading import read_split

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


def read(folder: Path, classes: list[str] | None = CLASSES, **labels: str):
    for name, text in labels.items():
        (folder / "labels" / f"{name}.txt").write_text(text)
    return read_split("yolo", folder / "images", folder / "labels", classes)


def test_boxes_are_middles_and_sides_in_parts_of_the_image(folder):
    (folder / "labels" / "more" / "a.txt").write_text("0 0.1 0.1 0.2 0.2")
    names, (a, b, more) = read(folder, a=f"{BOX}\n\n0 0.25 0.5 0.5 1\r\n", b="")
    assert names.names == ("kite", "bird")
    assert a.boxes.tolist() == [[15, 15, 45, 25], [0, 0, 30, 40]] and a.labels.tolist() == [2, 1]
    assert a.areas.tolist() == [300, 1200] and a.image_hw == (40, 60) and a.masks is None
    assert len(b) == 0 and more.path == folder / "images" / "more" / "a.png" and len(more) == 1


def test_polygons_are_masks_and_have_their_box(folder):
    _, (a, b, _) = read(folder, a=POLYGON)
    assert a.boxes.tolist() == [[15, 10, 45, 20]] and a.areas.tolist() == [300] and b.masks == []
    bitmap = masks.to_bitmap(masks.from_coco(a.masks[0], a.image_hw))
    assert bitmap[10:20, 15:45].all() and bitmap.sum() == 300


def test_boxes_among_polygons_leave_no_masks_and_that_is_said(folder, capsys):
    _, records = read(folder, a=f"{POLYGON}\n{BOX}", b=POLYGON)
    assert [len(r) for r in records] == [2, 1, 0] and all(r.masks is None for r in records)
    assert "1 image has objects without a mask, so no masks are used" in capsys.readouterr().err


def test_an_image_without_a_file_has_no_objects_and_a_file_without_an_image_is_named(folder, capsys):
    _, records = read(folder, c=BOX, b=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 0), ("b.png", 1), ("a.png", 0)]
    assert "missing image files: 1 skipped (c.txt" in capsys.readouterr().err


def test_of_two_images_of_one_name_the_second_is_left_out(folder, capsys):
    write_image(folder / "images" / "a.webp", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder, a=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 1), ("b.png", 0), ("a.png", 0)]
    assert "images without annotations: 1 skipped (a.webp: another image has its name" in capsys.readouterr().err


def test_an_image_may_have_the_name_of_a_list(folder):
    write_image(folder / "images" / "test.png", np.zeros((40, 60, 3), np.uint8))
    _, records = read(folder, test=BOX, train="images/a.png")
    assert [(r.path.name, len(r)) for r in records] == [("a.png", 0), ("b.png", 0), ("a.png", 0), ("test.png", 1)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 0.5 0.5 0 0.25", r"zero-area boxes: 1 skipped \(a\.txt, line 2: \(30, 15, 30, 25\)\)"),
        ("1 0.5 0.5 -0.5 0.25", "negative width or height: 1 coordinates ordered"),
        ("1 0.5 nan 0.5 0.25", r"not four finite numbers: 1 skipped \(a\.txt, line 2"),
        ("1 1.5 0.5 0.5 0.25", "boxes outside their image"),
        ("2 0.5 0.5 0.5 0.25", r"unlisted classes: 1 skipped \(a\.txt, line 2: 2, there are 0 to 1\)"),
        ("-1 0.5 0.5 0.5 0.25", "classes that are not listed"),
        ("0.5 0.5 0.5 0.5 0.25", "classes that are not listed"),
        ("bird 0.5 0.5 0.5 0.25", "line 2: 'bird 0.5 0.5 0.5 0.25' is not a row of numbers"),
        ("1 0.5 0.5 0.5", "line 2: 3 numbers after the class"),
        ("1", "line 2: 0 numbers after the class"),
        ("1 0.5 0.5 0.5 0.25 0.5", "line 2: 5 numbers after the class"),
        ("1 0.5 0.5", "polygons with fewer than 3 points: 1 skipped"),
        ("1 0.1 0.1 0.1 0.1 0.1 0.1", "zero-area boxes: 1 skipped"),
    ],
)
def test_lines_that_cannot_be_used_are_named(folder, capsys, line, said):
    _, (a, *_) = read(folder, a=f"{BOX}\n{line}\n{BOX}")
    assert len(a) == (3 if "coordinates ordered" in said else 2)
    assert re.search(said, capsys.readouterr().err)


def test_a_file_that_is_no_text_costs_itself_alone(folder, capsys):
    (folder / "labels" / "a.txt").write_bytes(b"\xff\xfe\x00\xd8")
    _, records = read(folder, b=BOX)
    assert [(r.path.name, len(r)) for r in records] == [("b.png", 1), ("a.png", 0)]
    assert "unreadable annotation files: 1 skipped (a.txt" in capsys.readouterr().err


def test_classes_have_to_be_named_and_labels_to_be_there(folder):
    with pytest.raises(DataError, match=r"are numbers; name them under"):
        read(folder, None, a=BOX)
    with pytest.raises(DataError, match="no label file"):
        yolo.parse(folder / "images", folder / "images", CLASSES)


def test_label_files_without_images_do_not_refuse_those_with(folder, capsys):
    """They are of no split; so they say nothing of the images of this one, even where they are more."""
    for name in "vwxyz":
        (folder / "labels" / f"{name}.txt").write_text(BOX)
    _, table = read(folder, a=BOX)
    assert len(table) == 3 and len(table.labels) == 1
    assert "missing image files: 5 skipped" in capsys.readouterr().err
